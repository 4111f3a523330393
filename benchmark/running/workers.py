"""Several jobs of a run side by side, each in a process of its own: one training leaves most of a second core idle."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from benchmark.devices import visible_gpus
from benchmark.running.agenda import Agenda
from benchmark.running.config import RunConfig
from benchmark.running.outcome import Outcome, Task, carry_out, failed
from benchmark.running.plan import Job
from benchmark.running.setup import Run, set_up
from benchmark.running.shared import Shared, shared_by


class Worker:
    """A process that does one task after the other, until it is stopped or its parent has gone."""

    def __init__(self, config: RunConfig, threads: int, number: int = 0) -> None:
        # A fresh interpreter: what becomes of torch's threads in a fork nobody knows.
        context = get_context("spawn")
        self._config = config
        self.number = number
        theirs, self._leash = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, context, _begin, (theirs, threads, number))

    def submit(self, task: Task) -> Future[Outcome]:
        """Raises `BrokenProcessPool` if the process has died since its last task."""
        with _uninterrupted():  # it starts the process when the first task comes
            return self._pool.submit(_carry_out, self._config, task.job.name, task.job.key, task.scored, task.refusal)

    def end(self) -> None:
        """When its task is done."""
        self._pool.shutdown()
        self._leash.close()

    def stop(self) -> None:
        """At once, whatever it is doing."""
        self._leash.close()
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Busy:
    worker: Worker
    task: Task
    began: float


def side_by_side(agenda: Agenda, setup: Run, count: int) -> Iterator[tuple[Task, Outcome]]:
    """The outcomes of all tasks as they come, by `count` processes that share the threads of this one.

    A process that dies costs the task that it is at, if any. Raises what ends a run, as `carry_out`; the processes are
    gone then.
    """
    threads = max(1, torch.get_num_threads() // count)
    idle = [Worker(setup.config, threads, number) for number in range(count)]
    last: dict[Worker, Job] = {}
    busy: dict[Future[Outcome], _Busy] = {}
    try:
        while len(agenda):
            for worker in list(idle):
                task = agenda.take(last.get(worker), [other.task.job for other in busy.values()])
                if task is not None:
                    idle.remove(worker)
                    at_work, future = _submitted(worker, task, setup.config, threads)
                    last[at_work] = task.job
                    busy[future] = _Busy(at_work, task, time.perf_counter())
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                done = busy.pop(future)
                try:
                    outcome = future.result()
                    idle.append(done.worker)
                except BrokenProcessPool:
                    done.worker.stop()
                    idle.append(Worker(setup.config, threads, done.worker.number))
                    error = "RuntimeError: the process that it ran in was killed, perhaps for want of memory"
                    outcome = failed(done.task, setup, error, time.perf_counter() - done.began)
                agenda.settle(done.task, outcome)
                yield done.task, outcome
    finally:
        for one in busy.values():
            one.worker.stop()
        for worker in idle:
            worker.end()


def _submitted(worker: Worker, task: Task, config: RunConfig, threads: int) -> tuple[Worker, Future[Outcome]]:
    """The worker that does it: another one where this has died while it waited, which costs nothing."""
    try:
        return worker, worker.submit(task)
    except BrokenProcessPool:
        worker.stop()
        another = Worker(config, threads, worker.number)
        return another, another.submit(task)


_runs: list[tuple[Run, Shared]] = []
"""In a worker: the run that it works for, from its first task on."""


def _begin(leash: Connection, threads: int, number: int) -> None:
    """In a worker: it has its share of the threads, its parent tells how far it is, and it ends with its parent.

    Of several GPUs it sees one.
    """
    gpus = visible_gpus()
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    torch.set_num_threads(threads)
    os.environ["TTY_COMPATIBLE"] = "0"  # rich draws no bars: those of two processes would be drawn over each other
    threading.Thread(target=_die_with, args=(leash,), daemon=True).start()


def _die_with(leash: Connection) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)


def _carry_out(config: RunConfig, name: str, key: str, scored: bool, refusal: str | None) -> Outcome:
    if not _runs:
        setup = set_up(config)
        _runs.append((setup, shared_by(setup, config.jobs)))
    setup, shared = _runs[0]
    job = next(job for job in setup.jobs if job.name == name)
    if job.key != key:
        refusal = "RuntimeError: a plugin or a data set was edited while the run went on"
    return carry_out(Task(job, scored, refusal), setup, shared)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that is started inside never sees Ctrl-C, which a terminal sends to all: this one stops it."""
    if threading.current_thread() is not threading.main_thread():  # only that one may, and gets Ctrl-C
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
