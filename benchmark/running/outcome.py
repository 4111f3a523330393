"""One job carried out: its model made and, if it is a cell of the run, read from, scored and written down."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmark.errors import OutputError, PartedError, error_line
from benchmark.models.checkpoint import fingerprint
from benchmark.records.files import predictions_path, shifted_predictions_path, write_predictions, write_record
from benchmark.records.record import Record
from benchmark.running.plan import Job
from benchmark.running.recording import failed_record, finished_record
from benchmark.running.setup import Run
from benchmark.running.shared import Shared
from benchmark.running.stages import make_model
from benchmark.running.trained import Trained


@dataclass(frozen=True, slots=True)
class Task:
    """A job to carry out. `scored`: its record is asked for, and not only its model; `refusal`: why it cannot be."""

    job: Job
    scored: bool
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: the record, if it was asked for, and why there is no model, if there is none."""

    record: Record | None
    failure: str | None
    seconds: float


def carry_out(task: Task, setup: Run, shared: Shared) -> Outcome:
    """Make and score; what goes wrong is in the outcome.

    Raises only what ends a run: an interrupt, a full disk, a process of the launch that is gone.
    """
    began = time.perf_counter()
    trained: Trained | None = None
    error = task.refusal
    record: Record | None = None
    if error is None:
        try:
            trained = make_model(task.job, shared)
            if task.scored:
                record = _scored(task.job, trained, setup, shared, began)
        except (KeyboardInterrupt, OutputError, PartedError):
            raise
        except BaseException as raised:  # a plugin may raise anything, even SystemExit: it costs its own cell only
            error = error_line(raised)
    if error is not None:
        return failed(task, setup, error, time.perf_counter() - began, has_model=trained is not None)
    return Outcome(record, None, time.perf_counter() - began)


def failed(task: Task, setup: Run, error: str, seconds: float, has_model: bool = False) -> Outcome:
    """The outcome of a task that came to no end. Who begins with its model can go on without its score."""
    record = failed_record(task.job, setup, error, seconds) if task.scored else None
    if record is not None:
        write_record(setup.checkpoints.output, record)
    return Outcome(record, None if has_model else error, seconds)


def _scored(job: Job, trained: Trained, setup: Run, shared: Shared, began: float) -> Record:
    metrics, predictions = shared.evaluator(job).read(trained.model)
    evaluator = shared.shifted(job)
    shifted = None if evaluator is None else evaluator.read(trained.model)
    record = finished_record(
        job, setup, fingerprint(trained.model), trained.training,
        setup.checkpoints.documents(job.teacher) if job.teacher else None, metrics, predictions, shifted,
        time.perf_counter() - began,
    )  # fmt: skip
    write_predictions(predictions_path(setup.checkpoints.output, job.name), predictions)
    if shifted is not None:
        write_predictions(shifted_predictions_path(setup.checkpoints.output, job.name), shifted[1])
    write_record(setup.checkpoints.output, record)
    return record
