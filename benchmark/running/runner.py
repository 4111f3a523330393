"""Runs the jobs of a plan: references -> start -> train -> checkpoint -> predict -> score -> record, then measures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from benchmark.errors import OutputError
from benchmark.models.checkpoint import fingerprint
from benchmark.records.files import (
    migrate_records,
    predictions_path,
    read_record,
    record_path,
    write_predictions,
    write_record,
)
from benchmark.records.record import Record
from benchmark.running.costs import measure_records, unmeasured
from benchmark.running.plan import Job, failed_need, needed
from benchmark.running.recording import error_line, failed_record, finished_record
from benchmark.running.setup import Run, RunConfig, set_up
from benchmark.running.shared import Shared
from benchmark.running.stages import make_model
from benchmark.running.trained import Trained, is_kept


def run(config: RunConfig) -> list[Record]:
    """The records of all cells, run now or found finished. A cell that fails is recorded and the rest goes on."""
    setup = set_up(config)
    migrate_records(config.output)
    records = finished(setup)
    refused = _refused(setup, records)
    jobs, needs = _jobs_of(setup, records, refused)
    failures: dict[str, str] = {}
    for number, job in enumerate(jobs, start=1):
        position = f"[{number}/{len(jobs)}] {job.cell.title}"
        if job.name in records:
            setup.say(f"{position}: already finished")
        if job.name not in records and job.scored:
            records[job.name] = _run_cell(job, setup, refused.get(job.name), failures, position)
        elif job.name in needs:
            _make_for_others(job, setup, failures, position)
    records, unmeasured_for = measure_records(setup.jobs, records, setup.shared)
    for name, error in unmeasured_for.items():
        setup.say(f"{name}: not measured, the next run tries again: {error_line(error)}")
    return [records[job.name] for job in setup.jobs if job.scored]


def outline(setup: Run) -> list[str]:
    """A line a job: what would be done, and what it needs; what is there already says so."""
    records, shared = finished(setup), setup.shared
    lines = []
    for number, job in enumerate(_jobs_of(setup, records, {})[0], start=1):
        for_others = "" if job.scored else " for other cells"
        kept = not job.scored and is_kept(shared.checkpoint(job), job.key)
        state = "already finished" if kept or job.name in records else "to do"
        needs = " and ".join(need.cell.title for need in job.needs)
        lines.append(f"{number}. {job.cell.title}{for_others}: {state}{needs and f', needs {needs}'}")
    waiting = sum(job.scored and (job.name not in records or unmeasured(records[job.name])) for job in setup.jobs)
    return [*lines, f"At last {waiting} of these cells would be measured."]


def finished(setup: Run) -> dict[str, Record]:
    """The records that stand already, by cell."""
    found = ((job.name, _finished(job, setup.shared)) for job in setup.jobs if job.scored)
    return {name: record for name, record in found if record is not None}


def _finished(job: Job, shared: Shared) -> Record | None:
    path = record_path(shared.output, job.name)
    if not path.is_file():
        return None
    record = read_record(path)
    if record.status != "ok" or record.key != job.key:
        return None
    # Its costs are measured from its checkpoint.
    return None if unmeasured(record) and not is_kept(shared.checkpoint(job), job.key) else record


def _refused(setup: Run, records: Mapping[str, Record]) -> dict[str, str]:
    """The cells whose test documents cannot be scored, with the reason: nothing is trained for them."""
    refused: dict[str, str] = {}
    for job in setup.jobs:
        if job.scored and job.name not in records:
            try:
                setup.shared.test(job)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may raise anything
                refused[job.name] = error_line(error)
    return refused


def _jobs_of(setup: Run, records: Mapping[str, Record], refused: Iterable[str]) -> tuple[list[Job], set[str]]:
    """The cells of a run and what those need that are to be made or measured, in order; the names of what is needed."""
    settled = {*refused, *records}
    needs = needed(job for job in setup.jobs if job.scored and job.name not in settled)
    for job in setup.jobs:
        if job.teacher is not None and job.name in records and unmeasured(records[job.name]):
            needs |= {job.teacher.name, *needed([job.teacher])}
    return [job for job in setup.jobs if job.scored or job.name in needs], needs


def _run_cell(job: Job, setup: Run, refusal: str | None, failures: dict[str, str], position: str) -> Record:
    began = time.perf_counter()
    shared, error = setup.shared, refusal
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
            write_predictions(predictions_path(shared.output, job.name), predictions)
        except (KeyboardInterrupt, OutputError):
            raise
        except BaseException as raised:  # a plugin may raise anything, even SystemExit: it costs its own cell only
            error = error_line(raised)
    if error is not None:
        if trained is None:  # who begins with its model can go on without its score
            failures[job.name] = error
        record = failed_record(job, setup.registry, shared.device, error, time.perf_counter() - began)
    write_record(shared.output, record)
    score = f"N-TED {record.metrics.ted:.3f}" if record.metrics else f"failed: {record.error}"
    setup.say(f"{position}: {score}, {record.seconds_total:.0f} s")
    return record


def _make_for_others(job: Job, setup: Run, failures: dict[str, str], position: str) -> None:
    """The checkpoint of a job that other cells of the run begin with or learn from."""
    began = time.perf_counter()
    try:
        _check_needs(job, failures)
        make_model(job, setup.shared)
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
