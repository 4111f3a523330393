"""A run by two processes that train each model together: what one process makes of a batch in two parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.models.checkpoint import load_model
from benchmark.records.files import read_records
from benchmark.running.runner import run
from benchmark.scales import Changes
from tests.running.runs import checkpoint_of, config

ROOT = Path(__file__).parents[2]

BROKEN = """
import os
from benchmark import CrossEntropy, Strategy, hookimpl, processes, reference

processes._PATIENCE = 2.0

class Broken:
    teaching = "none"
    calls = 0

    def __init__(self, ranks):
        self._ranks = ranks

    def __call__(self, student, teacher, labels):
        self.calls += 1
        loss = CrossEntropy()(student, teacher, labels)
        if os.environ.get("RANK") in self._ranks and self.calls == 2:
            return self.end(loss)
        return loss

    def end(self, loss):
        raise RuntimeError("no luck")

    def __repr__(self):
        return type(self).__name__

class NotFinite(Broken):
    def end(self, loss):
        return loss * float("nan")

@hookimpl
def donutbench_register_strategies():
    yield Strategy("all", "fails in all", start=reference("teacher"), objective=Broken("01"))
    yield Strategy("nan", "is not finite in one", start=reference("teacher"), objective=NotFinite("1"))
    yield Strategy("one", "fails in one", start=reference("teacher"), objective=Broken("1"))
"""


def launch(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "benchmark", "run", "--datasets", "receipts-mini", "--protocol", "task", "--device", "cpu"),
        *("--output", str(output), *arguments),
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.mark.long
def test_two_processes_give_what_one_gives_in_two_parts(tmp_path: Path) -> None:
    arguments = ("--strategies", "prune-finetune", "--limit", "32")
    ran = launch(tmp_path / "two", *arguments)
    assert ran.returncode == 0, ran.stderr
    (record,) = read_records(tmp_path / "two")
    plan = config(
        tmp_path / "one", strategies=("prune-finetune",), protocol="task", limit=32, changes=Changes(accumulate=2)
    )
    (expected,) = run(plan)

    assert record.status == "ok", record.error
    for name in ("cell", "key", "teacher_changes", "steps", "documents", "start_hash", "learning_rate", "objective"):
        assert getattr(record, name) == getattr(expected, name), name
    assert [step for step, _ in record.curve] == [step for step, _ in expected.curve]
    assert [ted for _, ted in record.curve] == pytest.approx([ted for _, ted in expected.curve], abs=0.02)
    assert record.efficiency is not None
    ours, theirs = (load_model(checkpoint_of(config(tmp_path / name), record)) for name in ("two", "one"))
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4), name
        assert torch.equal(a == 0, b == 0), name
    assert not list((tmp_path / "two" / "unfinished").rglob("*.*"))

    assert ran.stderr.count("[1/1] prune-finetune on receipts-mini, seed 0: N-TED") == 1
    assert ran.stdout.count("see ") == 1, "one of them reports"
    again = launch(tmp_path / "two", *arguments)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("1 cell: already finished") == 1
    assert read_records(tmp_path / "two") == [record]


@pytest.mark.long
def test_what_fails_in_all_costs_its_cell_and_what_fails_in_one_ends_the_run(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN)
    ran = launch(tmp_path / "out", "--plugin", str(plugin), "--strategies", "all,nan,one", "--limit", "24")
    assert ran.returncode != 0
    errors = {record.strategy: record.error for record in read_records(tmp_path / "out")}
    assert errors == {"all": "RuntimeError: no luck", "nan": "FloatingPointError: the loss of step 2 of 3 is nan"}
    told = "donutbench: one process of this launch failed and the others did not: RuntimeError: no luck"
    assert ran.stderr.count(told) == 1
