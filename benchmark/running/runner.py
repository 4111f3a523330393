"""A run: what of it stands already, and the rest of it executed.

No model is loaded, and no library for them, before something is to be done: a finished run costs a second.
"""

from __future__ import annotations

from benchmark.processes import from_first, join, leads
from benchmark.records.files import migrate_records, read_record, record_path
from benchmark.records.lock import held
from benchmark.records.record import Record
from benchmark.running.config import RunConfig
from benchmark.running.plan import Job, to_make
from benchmark.running.setup import Run, set_up
from benchmark.scoring.rescore import agree


def run(config: RunConfig) -> list[Record]:
    """The records of all cells, run now or found finished. A cell that fails is recorded and the rest goes on.

    In a launch of several processes each calls it with the same, and gets the same. Raises `UserError` as `set_up`, and
    that names who else writes into the output folder.
    """
    setup = set_up(config)
    if leads():
        with held(config.output):
            join(setup.device)
            records = _run(setup)
        return from_first(lambda: records)
    from benchmark.running.attending import attend

    join(setup.device)
    return attend(setup)


def _run(setup: Run) -> list[Record]:
    for remark in setup.remarks:
        setup.say(remark)
    output = setup.checkpoints.output
    migrate_records(output)
    for dataset in {job.cell.dataset.name: job.cell.dataset for job in setup.jobs}.values():
        for note in dataset.notes:
            setup.say(f"{dataset.name}: {note}")
    records = finished(setup)
    cells = [job for job in setup.jobs if job.scored]
    if all(job.name in records and not records[job.name].unmeasured for job in cells):
        setup.say(f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}: already finished")
    else:
        from benchmark.running.execution import execute

        records = execute(setup, records)
        return agree(output, [records[job.name] for job in cells])
    return [records[job.name] for job in cells]


def outline(setup: Run) -> list[str]:
    """A line a job: what would be done, and what it needs; what is there already says so."""
    records = finished(setup)
    lines = []
    for number, job in enumerate(to_make(setup.jobs, records)[0], start=1):
        for_others = "" if job.scored else " for other cells"
        kept = not job.scored and setup.checkpoints.has(job)
        state = "already finished" if kept or job.name in records else "to do"
        needs = " and ".join(need.cell.title for need in job.needs)
        lines.append(f"{number}. {job.cell.title}{for_others}: {state}{needs and f', needs {needs}'}")
    waiting = sum(job.scored and (job.name not in records or records[job.name].unmeasured) for job in setup.jobs)
    return [*setup.remarks, *lines, f"At last {waiting} of these cells would be measured."]


def finished(setup: Run) -> dict[str, Record]:
    """The records that stand already, by cell."""
    found = ((job.name, _finished(job, setup)) for job in setup.jobs if job.scored)
    return {name: record for name, record in found if record is not None}


def _finished(job: Job, setup: Run) -> Record | None:
    path = record_path(setup.checkpoints.output, job.name)
    if not path.is_file():
        return None
    record = read_record(path)
    if record.status != "ok" or record.key != job.key:
        return None
    # Its costs are measured from its checkpoint.
    return None if record.unmeasured and not setup.checkpoints.has(job) else record
