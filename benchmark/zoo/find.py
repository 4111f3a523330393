"""Which reference models a run begins with."""

from __future__ import annotations

from dataclasses import replace

from benchmark.scales import PAPER, SCALES, Changes, Scale
from benchmark.zoo.given import open_teacher
from benchmark.zoo.paper import open_paper
from benchmark.zoo.store import Zoo, open_zoo


def find_zoo(scale: str, teacher: str | None, changes: Changes) -> Zoo:
    """Those of a scale, or a given teacher and what goes with it. `UserError` if they are not here, or do not fit."""
    if scale == PAPER.name:
        return open_paper(teacher, changes)
    return _open_scale(SCALES[scale], changes) if teacher is None else open_teacher(teacher, changes)


def _open_scale(scale: Scale, changes: Changes) -> Zoo:
    zoo = open_zoo(scale)
    quick, full, task_teacher = (changes.of(budget) for budget in (scale.quick, scale.full, scale.task_teacher))
    changed = replace(scale, name=f"{scale.name}{changes}", quick=quick, full=full, task_teacher=task_teacher)
    return replace(zoo, scale=changed)
