"""Makes, scores and measures what a run has not finished: each job through its stages, then the costs of all."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmark.errors import OutputError
from benchmark.models.checkpoint import fingerprint
from benchmark.records.files import predictions_path, write_predictions, write_record
from benchmark.records.record import Record
from benchmark.running.costs import measure_records
from benchmark.running.plan import Job, failed_need, to_make
from benchmark.running.recording import error_line, failed_record, finished_record
from benchmark.running.setup import Run
from benchmark.running.shared import Shared, shared_by
from benchmark.running.stages import make_model
from benchmark.running.trained import Trained


def execute(setup: Run, finished: Mapping[str, Record]) -> dict[str, Record]:
    """The records of all cells, by cell name. A cell that fails is recorded and the rest goes on."""
    shared, records = shared_by(setup), dict(finished)
    refused = _refused(setup, shared, records)
    jobs, needs = to_make(setup.jobs, records, refused)
    failures: dict[str, str] = {}
    for number, job in enumerate(jobs, start=1):
        position = f"[{number}/{len(jobs)}] {job.cell.title}"
        if job.name in records:
            setup.say(f"{position}: already finished")
        if job.name not in records and job.scored:
            records[job.name] = _run_cell(job, setup, shared, refused.get(job.name), failures, position)
        elif job.name in needs:
            _make_for_others(job, setup, shared, failures, position)
    shared.forget()
    records, unmeasured_for = measure_records(setup.jobs, records, shared)
    for name, error in unmeasured_for.items():
        setup.say(f"{name}: not measured, the next run tries again: {error_line(error)}")
    return records


def _refused(setup: Run, shared: Shared, records: Mapping[str, Record]) -> dict[str, str]:
    """The cells whose test documents cannot be scored, with the reason: nothing is trained for them."""
    refused: dict[str, str] = {}
    for job in setup.jobs:
        if job.scored and job.name not in records:
            try:
                shared.test(job)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may raise anything
                refused[job.name] = error_line(error)
    return refused


def _run_cell(
    job: Job, setup: Run, shared: Shared, refusal: str | None, failures: dict[str, str], position: str
) -> Record:
    began = time.perf_counter()
    error = refusal
    trained: Trained | None = None
    if refusal is None:
        try:
            _check_needs(job, failures)
            trained = make_model(job, shared)
            evaluator = shared.evaluator(job)
            texts = evaluator.predict(trained.model)
            metrics, predictions = evaluator.score(trained.model, texts)
            record = finished_record(
                job, setup.registry, shared.device, fingerprint(trained.model), trained.training, metrics, predictions,
                time.perf_counter() - began,
            )  # fmt: skip
            write_predictions(predictions_path(setup.checkpoints.output, job.name), predictions)
        except (KeyboardInterrupt, OutputError):
            raise
        except BaseException as raised:  # a plugin may raise anything, even SystemExit: it costs its own cell only
            error = error_line(raised)
    if error is not None:
        if trained is None:  # who begins with its model can go on without its score
            failures[job.name] = error
        record = failed_record(job, setup.registry, shared.device, error, time.perf_counter() - began)
    write_record(setup.checkpoints.output, record)
    score = f"N-TED {record.metrics.ted:.3f}" if record.metrics else f"failed: {record.error}"
    setup.say(f"{position}: {score}, {record.seconds_total:.0f} s")
    return record


def _make_for_others(job: Job, setup: Run, shared: Shared, failures: dict[str, str], position: str) -> None:
    """The checkpoint of a job that other cells of the run begin with or learn from."""
    began = time.perf_counter()
    try:
        _check_needs(job, failures)
        make_model(job, shared)
    except (KeyboardInterrupt, OutputError):
        raise
    except BaseException as error:  # as in a cell
        failures[job.name] = error_line(error)
        setup.say(f"{position}: failed: {failures[job.name]}")
    else:
        if not job.scored:
            setup.say(f"{position}: made for other cells, {time.perf_counter() - began:.0f} s")


def _check_needs(job: Job, failures: Mapping[str, str]) -> None:
    """Raise `RuntimeError` with what a job that this one needs has failed with."""
    reason = failed_need(job, failures)
    if reason is not None:
        raise RuntimeError(reason)
