"""What is still to do of a run, and in which order: what a job needs comes before it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence

from benchmark.running.outcome import Outcome, Task
from benchmark.running.plan import Job, failed_need


class Agenda:
    """Gives out tasks whose needs are settled.

    `scored` and `refused` are by job name: whose records are asked for, and which cannot be, with the reason.
    """

    def __init__(self, jobs: Sequence[Job], scored: Collection[str], refused: Mapping[str, str]) -> None:
        self._waiting = list(jobs)
        self._open = {job.name for job in jobs}
        self._scored, self._refused = scored, refused
        self._failures: dict[str, str] = {}

    def __len__(self) -> int:
        """How many tasks are not settled."""
        return len(self._open)

    def take(self, last: Job | None = None, others: Collection[Job] = ()) -> Task | None:
        """The next task; None if all that are left wait for others.

        Preferred is one on the data of `last`, which are at hand, then one on data that `others` are not at.
        """
        near, far = last and _data(last), {_data(job) for job in others}
        ready = [job for job in self._waiting if not any(need.name in self._open for need in job.needs)]
        if not ready:
            return None
        job = max(ready, key=lambda job: (_data(job) == near, _data(job) not in far))  # the first of several
        self._waiting.remove(job)
        lost = failed_need(job, self._failures)
        refusal = self._refused.get(job.name) or (f"RuntimeError: {lost}" if lost else None)
        return Task(job, job.name in self._scored, refusal)

    def settle(self, task: Task, outcome: Outcome) -> None:
        self._open.remove(task.job.name)
        if outcome.failure is not None:
            self._failures[task.job.name] = outcome.failure


def _data(job: Job) -> Hashable:
    return job.cell.dataset.name, job.cell.seed
