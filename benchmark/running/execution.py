"""Makes, scores and measures what a run has not finished: each job through its stages, then the costs of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmark.errors import error_line
from benchmark.records.record import Record
from benchmark.running.agenda import Agenda
from benchmark.running.costs import measure_records
from benchmark.running.outcome import Outcome, Task, carry_out
from benchmark.running.plan import to_make
from benchmark.running.setup import Run
from benchmark.running.shared import Shared, shared_by
from benchmark.running.workers import side_by_side


def execute(setup: Run, finished: Mapping[str, Record]) -> dict[str, Record]:
    """The records of all cells, by cell name. A cell that fails is recorded and the rest goes on."""
    shared, records = shared_by(setup), dict(finished)
    refused = _refused(setup, shared, records)
    jobs, needs = to_make(setup.jobs, records, refused)
    for job in jobs:
        if job.name in records:
            setup.say(f"{job.cell.title}: already finished")
    left = [job for job in jobs if job.name not in records or job.name in needs]
    agenda = Agenda(left, {job.name for job in left if job.scored and job.name not in records}, refused)
    for number, (task, outcome) in enumerate(_outcomes(agenda, setup, shared), start=1):
        if outcome.record is not None:
            records[task.job.name] = outcome.record
        if task.job.name not in finished or outcome.failure:
            position = f"[{number}/{len(left)}] {task.job.cell.title}"
            setup.say(f"{position}: {_told(outcome)}, {outcome.seconds:.0f} s")
    shared.forget()
    # Alone, in this process: what else runs would be measured too.
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


def _outcomes(agenda: Agenda, setup: Run, shared: Shared) -> Iterator[tuple[Task, Outcome]]:
    processes = min(setup.config.jobs, len(agenda))
    if processes > 1:
        yield from side_by_side(agenda, setup, processes)
    while task := agenda.take():
        outcome = carry_out(task, setup, shared)
        agenda.settle(task, outcome)
        yield task, outcome


def _told(outcome: Outcome) -> str:
    if outcome.record is None:
        return f"failed: {outcome.failure}" if outcome.failure else "made for other cells"
    return f"N-TED {outcome.record.metrics.ted:.3f}" if outcome.record.metrics else f"failed: {outcome.record.error}"
