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
from benchmark.running.costs import measure_records
from benchmark.running.plan import Job, needed
from benchmark.running.recording import error_line, failed_record, finished_record
from benchmark.running.setup import Run, RunConfig, set_up
from benchmark.running.shared import Shared
from benchmark.running.stages import make_model
from benchmark.running.trained import Trained


def run(config: RunConfig) -> list[Record]:
    """The records of all cells, run now or found finished. A cell that fails is recorded and the rest goes on."""
    setup = set_up(config)
    migrate_records(config.output)
    records = finished(setup)
    failures = _refused(setup, records)
    jobs, needs = _jobs_of(setup, {**records, **failures})
    for number, job in enumerate(jobs, start=1):
        position = f"[{number}/{len(jobs)}] {job.cell.title}"
        if job.name in records:
            setup.say(f"{position}: already finished")
        if job.name not in records and job.scored:
            records[job.name] = _run_cell(job, setup, failures, position)
        elif job.name in needs:
            _make_for_others(job, setup, failures, position)
    measured = measure_records(setup.jobs, records, setup.shared)
    return [measured[job.name] for job in setup.jobs if job.scored]


def _refused(setup: Run, records: Mapping[str, Record]) -> dict[str, BaseException]:
    """The cells whose test documents cannot be scored, with the reason: nothing is trained for them."""
    refused: dict[str, BaseException] = {}
    for job in setup.jobs:
        if job.scored and job.name not in records:
            try:
                setup.shared.test(job)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may raise anything
                refused[job.name] = error
    return refused


def outline(setup: Run) -> list[str]:
    """A line a job: what would be done, and what it needs; what is finished says so."""
    records = finished(setup)
    lines = []
    for number, job in enumerate(_jobs_of(setup, records)[0], start=1):
        state = "already finished" if job.name in records else "to do"
        needs = " and ".join(need.cell.title for need in job.needs)
        for_others = "" if job.scored else " for other cells"
        lines.append(f"{number}. {job.cell.title}{for_others}: {state}{needs and f', needs {needs}'}")
    return lines


def _jobs_of(setup: Run, settled: Iterable[str]) -> tuple[list[Job], set[str]]:
    """The cells of a run and what those that are not settled need, in order; and the names of what is needed."""
    known = set(settled)
    needs = needed(job for job in setup.jobs if job.scored and job.name not in known)
    return [job for job in setup.jobs if job.scored or job.name in needs], needs


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
    return record if record.efficiency or shared.checkpoint(job).is_dir() else None


def _run_cell(job: Job, setup: Run, failures: dict[str, BaseException], position: str) -> Record:
    began = time.perf_counter()
    shared = setup.shared
    trained: Trained | None = None
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
    except BaseException as error:  # a plugin may raise anything, even SystemExit: it costs its own cell only
        if trained is None:  # who begins with its model can go on without its score
            failures[job.name] = error
        record = failed_record(job, setup.registry, shared.device, error, time.perf_counter() - began)
    write_record(shared.output, record)
    score = f"N-TED {record.metrics.ted:.3f}" if record.metrics else f"failed: {record.error}"
    setup.say(f"{position}: {score}, {record.seconds_total:.0f} s")
    return record


def _make_for_others(job: Job, setup: Run, failures: dict[str, BaseException], position: str) -> None:
    """The checkpoint of a job that other cells of the run begin with or learn from."""
    began = time.perf_counter()
    try:
        _check_needs(job, failures)
        make_model(job, setup.shared)
    except (KeyboardInterrupt, OutputError):
        raise
    except BaseException as error:  # as in a cell
        failures[job.name] = error
        setup.say(f"{position}: failed: {error_line(error)}")
    else:
        if not job.scored:
            setup.say(f"{position}: made for other cells, {time.perf_counter() - began:.0f} s")


def _check_needs(job: Job, failures: Mapping[str, BaseException]) -> None:
    """Raise what this job, or one that it needs, has failed with."""
    for need in (job, *job.needs):
        if need.name in failures:
            raise failures[need.name]
