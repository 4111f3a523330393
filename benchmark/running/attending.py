"""What the other processes of a launch do while the first one runs: they take part in its trainings."""

from __future__ import annotations

from contextlib import suppress

from benchmark.errors import SharedFailure
from benchmark.processes import from_first, together
from benchmark.records.record import Record
from benchmark.running.setup import Run
from benchmark.running.shared import shared_by
from benchmark.running.stages import begin_and_train


def attend(setup: Run) -> list[Record]:
    """Train each job that the first process names, until it gives the records of all cells instead."""
    shared, jobs = shared_by(setup), {job.name: job for job in setup.jobs}
    while isinstance(told := from_first(_first_says), str):
        job = jobs[told]
        with suppress(SharedFailure):  # the first process records it
            together(lambda: begin_and_train(job, shared))  # noqa: B023 # called at once
    return told


def _first_says() -> str | list[Record]:
    raise AssertionError("only the first process knows what comes next")
