"""The plan of a run: every checkpoint that it makes and what each needs, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from benchmark.parts.objectives import CrossEntropy
from benchmark.parts.starts import reference
from benchmark.records.record import Record
from benchmark.running.cells import Cell, identity_of, key_of
from benchmark.running.protocols import BY_NAME
from benchmark.running.route import FromCell, FromStart, FromZoo, Route, Surroundings
from benchmark.scales import TASK_TEACHER
from benchmark.types import Dataset, Strategy
from benchmark.zoo.store import Zoo


@dataclass(frozen=True, slots=True)
class Job:
    """One checkpoint to make: by `route`, from what other jobs have made.

    `scored`: it is a cell of the run, and not only what others begin with (`begins`) or learn from (`teacher`, None
    where the zoo has the teacher).
    """

    cell: Cell
    key: str
    route: Route
    begins: Job | None
    teacher: Job | None
    scored: bool

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def needs(self) -> tuple[Job, ...]:
        return tuple(job for job in (self.begins, self.teacher) if job is not None)


@dataclass
class Planner:
    """Plans the jobs of cells, each once.

    `contents` are hashes of plugins, by what they register: ("strategy" or "dataset", name).
    """

    zoo: Zoo
    reading: Dataset
    contents: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)

    def plan(self, cells: Sequence[Cell]) -> list[Job]:
        """The jobs of these cells and those that they need, what is needed first.

        Raises `UserError` for a part of a strategy without an identity.
        """
        scored = {cell.name for cell in cells}
        for cell in cells:
            self._job(cell, scored)
        return list(self._jobs.values())

    def key(self, cell: Cell) -> str:
        """The key of a cell that may not be part of the plan. Raises as `plan`."""
        return replace(self, _jobs={})._job(cell, set()).key

    def _job(self, cell: Cell, scored: Set[str]) -> Job:
        if cell.name not in self._jobs:
            route = self._route(cell)
            begins = self._job(route.begin.cell, scored) if isinstance(route.begin, FromCell) else None
            has_teacher = self.zoo.task_teacher(route.teacher) is not None
            teacher = None if has_teacher else self._job(task_teacher_cell(cell), scored)
            key = self._key(cell, (job for job in (begins, teacher) if job is not None))
            # After those that it needs.
            self._jobs[cell.name] = Job(cell, key, route, begins, teacher, cell.name in scored)
        return self._jobs[cell.name]

    def _route(self, cell: Cell) -> Route:
        if cell.budget == TASK_TEACHER:
            return Route(FromStart(), trains=True, teacher=self.reading, balanced=True)
        return BY_NAME[cell.protocol].route(cell, Surroundings(self.reading, self._upstream_recipe))

    def _upstream_recipe(self, cell: Cell) -> Mapping[str, Any] | None:
        return self.zoo.upstream_recipe(cell.strategy.name, identity_of(cell.strategy))

    def _key(self, cell: Cell, needs: Iterable[Job]) -> str:
        # What the zoo has counts by the zoo's fingerprint: no data are opened for it.
        made = [job.key for job in needs if not isinstance(job.route.begin, FromZoo)]
        strategy, dataset = cell.strategy.name, cell.dataset.name
        plugins = [self.contents.get(("strategy", strategy)), self.contents.get(("dataset", dataset))]
        return key_of(cell, plugins, self.zoo.fingerprint(strategy, dataset), made)


def task_teacher_cell(cell: Cell) -> Cell:
    """The one task teacher of all rows, seeds and protocols, for data that the zoo does not know.

    It is the reading teacher, fine-tuned on the task as under `paper`, and balanced as the zoo's teachers are, to be
    pruned.
    """
    strategy = Strategy("task-teacher", "the reading teacher on the task", reference("teacher"), CrossEntropy())
    return replace(cell, strategy=strategy, protocol="paper", budget=TASK_TEACHER, seed=0, options=())


def failed_need(job: Job, failures: Mapping[str, str]) -> str | None:
    """What a job that this one needs has failed with, by job name in `failures`; None if none has."""
    failed = (need for need in job.needs if need.name in failures)
    return next((f"{need.cell.title}, which it needs, failed: {failures[need.name]}" for need in failed), None)


def needed(jobs: Iterable[Job]) -> set[str]:
    """The names of all jobs that these need, directly or not."""
    names: set[str] = set()
    waiting = [need for job in jobs for need in job.needs]
    while waiting:
        job = waiting.pop()
        if job.name not in names:
            names.add(job.name)
            waiting += job.needs
    return names


def to_make(
    jobs: Sequence[Job], records: Mapping[str, Record], refused: Iterable[str] = ()
) -> tuple[list[Job], set[str]]:
    """The cells of a run and what those need that are to be made or measured, in order; the names of what is needed.

    `records` are of the cells that are finished, `refused` the names of those that cannot be.
    """
    settled = {*refused, *records}
    needs = needed(job for job in jobs if job.scored and job.name not in settled)
    for job in jobs:
        if job.teacher is not None and job.name in records and records[job.name].unmeasured:
            needs |= {job.teacher.name, *needed([job.teacher])}
    return [job for job in jobs if job.scored or job.name in needs], needs
