"""Cells side by side: the order of the agenda, the same records as one after the other, and processes that end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe, active_children
from pathlib import Path

import pytest
import torch

from benchmark.records.files import read_predictions, read_record
from benchmark.running.agenda import Agenda
from benchmark.running.outcome import Outcome, Task
from benchmark.running.plan import Job
from benchmark.running.runner import run
from benchmark.running.setup import set_up
from benchmark.running.workers import Worker, _begin, _submitted
from tests.running.runs import config, own_metrics, quick_measurements

SUDDEN = """
import os, signal, time
from benchmark import CrossEntropy, Strategy, hookimpl, reference

def gone(references, scale, seed):
    os.kill(os.getpid(), signal.SIGKILL)

def slow(references, scale, seed):
    {slow}
    return references.load("teacher")

@hookimpl
def donutbench_register_strategies():
    yield Strategy("gone", "its process is killed", start=gone)
    yield Strategy("slow", "takes its time", start=slow)
"""
LEFT = Outcome(None, None, 0.0)


def jobs_of(tmp_path: Path, **changes: object) -> list[Job]:
    return set_up(config(tmp_path, strategies=("teacher", "prune"), **changes)).jobs


def named(agenda: Agenda, last: Job | None = None, others: tuple[Job, ...] = ()) -> str:
    task = agenda.take(last, others)
    return f"{task.job.cell.strategy.name} {task.job.cell.dataset.name}" if task else "none"


class TestAgenda:
    def test_alone_it_follows_the_plan(self, tmp_path: Path) -> None:
        jobs = jobs_of(tmp_path, datasets=("receipts-mini", "parcels-mini"))
        agenda = Agenda(jobs, set(), {})
        taken = []
        while task := agenda.take():
            taken.append(task.job.name)
            agenda.settle(task, LEFT)
        assert taken == [job.name for job in jobs]
        assert len(agenda) == 0

    def test_a_second_begins_with_other_data_and_then_each_stays_with_its_own(self, tmp_path: Path) -> None:
        jobs = jobs_of(tmp_path, datasets=("receipts-mini", "parcels-mini"))
        receipts, parcels = jobs[0], jobs[2]
        agenda = Agenda(jobs, set(), {})
        assert named(agenda) == "teacher receipts-mini"
        assert named(agenda, others=(receipts,)) == "teacher parcels-mini"
        assert named(agenda, last=parcels, others=(receipts,)) == "prune parcels-mini"
        assert named(agenda, last=parcels, others=(receipts,)) == "prune receipts-mini", "rather than nothing"
        assert named(agenda) == "none"

    def test_what_needs_another_waits_for_it_and_fails_with_it(self, tmp_path: Path) -> None:
        plugin = tmp_path / "mine.py"
        plugin.write_text(
            "from benchmark import CrossEntropy, Strategy, hookimpl, reference\n"
            "@hookimpl\n"
            "def donutbench_register_strategies():\n"
            "    yield Strategy('mine', 'reads first', start=reference('teacher'), objective=CrossEntropy())\n"
        )
        upstream, downstream = set_up(config(tmp_path, strategies=("mine",), plugins=(plugin,))).jobs
        agenda = Agenda([upstream, downstream], {downstream.name}, {})
        first = agenda.take()
        assert first is not None
        assert (first.job.name, first.scored) == (upstream.name, False)
        assert agenda.take() is None
        agenda.settle(first, Outcome(None, "OSError: full", 1.0))
        second = agenda.take()
        assert second is not None
        assert second.scored
        assert second.refusal == f"RuntimeError: {upstream.cell.title}, which it needs, failed: OSError: full"


@pytest.fixture(scope="module")
def sudden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "sudden.py"
    path.write_text(SUDDEN.format(slow="time.sleep(0.1)"))
    return path


@pytest.mark.long
def test_side_by_side_gives_the_same_and_a_process_that_dies_costs_its_cell(sudden: Path, tmp_path: Path) -> None:
    names, data = ("gone", "teacher", "prune", "slow"), ("receipts-mini", "parcels-mini")
    both = config(tmp_path / "two", strategies=names, datasets=data, plugins=(sudden,), jobs=2)
    alone = config(tmp_path / "one", strategies=("prune",), datasets=data, plugins=(sudden,))
    with quick_measurements():
        records, expected = run(both), run(alone)
    assert [record.status for record in records] == ["failed", "ok", "ok", "ok"] * 2
    assert {record.error for record in records if record.strategy == "gone"} == {
        "RuntimeError: the process that it ran in was killed, perhaps for want of memory"
    }
    assert all(record.efficiency for record in records if record.status == "ok")
    for record in expected:
        (same,) = (other for other in records if other.cell == record.cell)
        assert (same.key, same.model_hash, own_metrics(same)) == (record.key, record.model_hash, own_metrics(record))
        texts = [
            read_predictions(folder / "results" / f"{record.cell}.predictions.jsonl")
            for folder in (both.output, alone.output)
        ]
        assert texts[0] == texts[1]
        assert read_record(both.output / "results" / f"{record.cell}.json") == same


@pytest.mark.long
def test_a_process_that_dies_while_it_waits_costs_nothing(tmp_path: Path) -> None:
    setup = set_up(config(tmp_path, strategies=("teacher",)))
    (job,) = setup.jobs
    worker = Worker(setup.config, 1)
    worker.submit(Task(job, scored=False, refusal="not now")).result()
    (process,) = active_children()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    another, future = _submitted(worker, Task(job, scored=False, refusal="not now"), setup.config, 1)
    assert another is not worker
    assert future.result().failure == "not now"
    another.end()


@pytest.mark.parametrize(
    ("visible", "number", "seen"), [("3,5", 0, "3"), ("3,5", 1, "5"), ("3,5", 2, "3"), ("7", 1, "7")]
)
def test_of_several_gpus_a_process_sees_one(
    visible: str, number: int, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # it is put back
    ours, theirs = Pipe()
    _begin(ours, torch.get_num_threads(), number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    theirs.send("stay")  # or it would end with its parent


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Whoever runs the tests may let them ignore Ctrl-C, as a shell does in the background: a process inherits it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.long
@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_ends_all_processes_with_one_line(tmp_path: Path) -> None:
    plugin, begun = tmp_path / "slow.py", tmp_path / "begun"
    plugin.write_text(SUDDEN.format(slow=f"open({str(begun)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"))
    command = [
        *(sys.executable, "-m", "benchmark", "run", "--strategies", "slow", "--datasets", "receipts-mini,parcels-mini"),
        *("--plugin", str(plugin), "--limit", "2", "--jobs", "2", "--output", str(tmp_path / "out")),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        workers: list[str] = []
        while len(workers) < 2 and process.poll() is None:
            time.sleep(0.1)
            workers = begun.read_text().split() if begun.exists() else []
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, told = process.communicate(timeout=60)
    assert told == "donutbench: interrupted\n"
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(worker), 0)
