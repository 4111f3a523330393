"""The last stage: the costs of all cells that have none yet, measured one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from benchmark.devices import move
from benchmark.measure import Subject, measure
from benchmark.models.donut import Donut
from benchmark.models.processor import prompt_of
from benchmark.records.files import write_record
from benchmark.records.record import Efficiency, Record
from benchmark.running.plan import Job
from benchmark.running.shared import Shared
from benchmark.running.trained import reopen


def measure_records(
    jobs: Iterable[Job], records: Mapping[str, Record], shared: Shared
) -> tuple[dict[str, Record], dict[str, Exception]]:
    """These records with their costs, which are written down, and why some could not be measured.

    What could not be measured keeps its scores, and is tried again by the next run. Cells that read the same tokens are
    timed in turns with one teacher.
    """
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        if job.name in records and records[job.name].unmeasured:
            vocabulary = shared.processor(job.cell.dataset).tokenizer.get_vocab()
            groups.setdefault(tuple(sorted(vocabulary)), []).append(job)
    measured, failures = dict(records), dict[str, Exception]()
    for group in groups.values():
        for name, costs in _measure(group, shared).items():
            if isinstance(costs, Exception):
                failures[name] = costs
            else:
                measured[name] = records[name].model_copy(update={"efficiency": costs})
                write_record(shared.checkpoints.output, measured[name])
    return measured, failures


def _measure(group: Sequence[Job], shared: Shared) -> Mapping[str, Efficiency | Exception]:
    try:
        teacher = _subject(group[0], shared.teacher(group[0]), shared)
        return measure(teacher, {job.name: partial(_load, job, shared) for job in group})
    except Exception as error:  # without a teacher none can be measured
        return {job.name: error for job in group}


def _load(job: Job, shared: Shared) -> Subject:
    kept = reopen(shared.checkpoints.of(job), job.key)
    if kept is None:
        raise FileNotFoundError(f"{shared.checkpoints.of(job)} is not whole")
    return _subject(job, move(kept.model, shared.device), shared)


def _subject(job: Job, model: Donut, shared: Shared) -> Subject:
    processor, page = shared.processor(job.cell.dataset), shared.test(job).pages[:1]
    return Subject(model, processor, page, prompt_of(job.cell.dataset), shared.scale.max_tokens)
