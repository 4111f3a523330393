"""The last stage: the costs of all cells that have none yet, measured one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from benchmark.devices import move
from benchmark.measure import Subject, measure
from benchmark.models.donut import Donut
from benchmark.models.processor import prompt_of
from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.running.plan import Job
from benchmark.running.recording import error_line
from benchmark.running.shared import Shared
from benchmark.running.trained import reopen


def measure_records(jobs: Iterable[Job], records: Mapping[str, Record], shared: Shared) -> dict[str, Record]:
    """These records with their costs, which are written down; one whose model cannot be measured fails.

    Cells that read the same tokens are timed in turns with one teacher.
    """
    waiting = [job for job in jobs if job.name in records and _unmeasured(records[job.name])]
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in waiting:
        vocabulary = shared.processor(job.cell.dataset).tokenizer.get_vocab()
        groups.setdefault(tuple(sorted(vocabulary)), []).append(job)
    measured = dict(records)
    for group in groups.values():
        teacher = _subject(group[0], shared.teacher(group[0]), shared)
        found = measure(teacher, {job.name: partial(_load, job, shared) for job in group})
        for name, costs in found.items():
            measured[name] = _with_costs(records[name], costs)
            write_record(shared.output, measured[name])
    return measured


def _unmeasured(record: Record) -> bool:
    return record.status == "ok" and record.efficiency is None


def _load(job: Job, shared: Shared) -> Subject:
    kept = reopen(shared.checkpoint(job), job.key)
    if kept is None:
        raise FileNotFoundError(f"{shared.checkpoint(job)} is not there any more")
    return _subject(job, move(kept.model, shared.device), shared)


def _subject(job: Job, model: Donut, shared: Shared) -> Subject:
    evaluator = shared.evaluator(job)
    page = evaluator.test.pages[:1]
    return Subject(model, evaluator.processor, page, prompt_of(job.cell.dataset), shared.scale.max_tokens)


def _with_costs(record: Record, costs: object) -> Record:
    if isinstance(costs, BaseException):
        failed = {"status": "failed", "error": f"measuring: {error_line(costs)}", "metrics": None}
        return Record.model_validate({**record.model_dump(), **failed})
    return record.model_copy(update={"efficiency": costs})
