"""The command `run`, as a user sees it: what it prints, its exit code, and what it would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main

FAILS = """
from benchmark import Strategy, hookimpl

def fails(references, scale, seed):
    raise RuntimeError("no luck")

@hookimpl
def donutbench_register_strategies():
    yield Strategy("fails", "fails", start=fails)
    yield Strategy("of-task", "one shot", start=lambda references, scale, seed: references.load("teacher"),
                   protocols=("task",))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    path = tmp_path / "fails.py"
    path.write_text(FAILS)
    return str(path)


def arguments(output: Path, plugin: str, *more: str) -> list[str]:
    fixed = ["--datasets", "receipts-mini", "--limit", "2", "--device", "cpu", "--output", str(output)]
    return ["run", *fixed, "--plugin", plugin, *more]


def test_it_prints_the_leaderboard_and_tells_what_failed(
    plugin: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "out", plugin, "--strategies", "teacher,fails")) == 1
    out, err = capfd.readouterr()
    assert "receipts-mini, scale tiny, protocol paper, budget quick, limit 2" in out
    (teacher,) = [line for line in out.splitlines() if "teacher (reference)" in line]
    assert float(teacher.split()[-1]) > 0, "the ratio of its latency"
    assert any("fails" in line and "failed" in line for line in out.splitlines())
    assert out.endswith(f"see {tmp_path / 'out' / 'leaderboard.md'}\n")
    said = err.splitlines()
    assert said[-1] == "donutbench: fails on receipts-mini, seed 0, failed: RuntimeError: no luck"
    assert [line.split("]")[0] for line in said[:-1]] == ["[1/2", "[2/2"], "and no library says anything"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    plugin: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments(out, plugin, "--strategies", "teacher,prune-distill", "--dry-run")) == 0
    assert capfd.readouterr().out.splitlines() == [
        "1. teacher on receipts-mini, seed 0: to do",
        "2. prune-distill on synthdog-mini, seed 0 for other cells: to do",
        "3. prune-distill on receipts-mini, seed 0: to do, needs prune-distill on synthdog-mini, seed 0",
        "At last 2 of these cells would be measured.",
    ]
    assert not out.exists()


def test_a_batch_in_parts_is_for_any_scale_and_for_no_features(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = ("--strategies", "prune-finetune,prune-distill", "--datasets", "receipts-mini", "--protocol", "task")
    assert main(["run", *rows, "--accumulate", "2", "--dry-run", "--output", str(tmp_path)]) == 0
    left_out, *lines = capfd.readouterr().out.splitlines()
    assert left_out.startswith("prune-distill is left out: it compares over a whole batch")
    assert lines[0] == "1. prune-finetune on receipts-mini, seed 0: to do"


def test_a_sweep_is_a_cell_for_each_combination(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    swept = ("--sweep", "ratio=0.6,0.7", "--sweep", "allocation=uniform,global")
    rows = ("--strategies", "structured-ffn,teacher", "--datasets", "receipts-mini", "--protocol", "task")
    assert main(["run", *rows, *swept, "--dry-run", "--output", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "1. structured-ffn ratio=0.6 on receipts-mini, seed 0: to do",
        "2. teacher on receipts-mini, seed 0: to do",
        "3. structured-ffn allocation=global ratio=0.6 on receipts-mini, seed 0: to do",
        "4. structured-ffn ratio=0.7 on receipts-mini, seed 0: to do",
        "5. structured-ffn allocation=global ratio=0.7 on receipts-mini, seed 0: to do",
        "At last 5 of these cells would be measured.",
    ]


def test_a_strategy_of_one_protocol_is_refused_by_the_other(
    plugin: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "out", plugin, "--strategies", "teacher,of-task")) == 2
    said = "donutbench: strategy of-task has no place in protocol paper: it is defined for task\n"
    assert capfd.readouterr().err == said
    assert main(arguments(tmp_path / "out", plugin, "--strategies", "all", "--dry-run", "--protocol", "task")) == 0
    assert "of-task on receipts-mini" in capfd.readouterr().out
