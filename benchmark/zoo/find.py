"""Which reference models a run begins with."""

from __future__ import annotations

from benchmark.scales import PAPER, SCALES, Changes
from benchmark.zoo.given import open_teacher
from benchmark.zoo.paper import open_paper
from benchmark.zoo.store import Zoo, open_zoo


def find_zoo(scale: str, teacher: str | None, changes: Changes) -> Zoo:
    """Those of a scale, or a given teacher and what goes with it. `UserError` if they are not here, or do not fit."""
    if scale == PAPER.name:
        return open_paper(teacher, changes)
    return open_zoo(SCALES[scale]) if teacher is None else open_teacher(teacher, changes)
