"""A run that is asked for in Python is refused in the words of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.errors import UserError
from benchmark.running.config import RunConfig
from benchmark.running.setup import set_up
from benchmark.scales import Changes

TASK: dict[str, Any] = {"scale": "paper", "protocol": "task"}


@pytest.mark.parametrize(
    ("changes", "arguments", "told"),
    [
        ({"scale": "tyni"}, ["--scale", "tyni"], "unknown scale 'tyni'"),
        ({"protocol": "tsk"}, ["--protocol", "tsk"], "unknown protocol 'tsk'"),
        ({"budget": "ful"}, ["--budget", "ful"], "unknown budget 'ful'"),
        ({"device": "gpu"}, ["--device", "gpu"], "unknown device 'gpu'"),
        ({"seeds": ()}, ["--seeds", ""], "--seeds '' is not a list of whole numbers below 2^32"),
        ({"seeds": (-1,)}, ["--seeds", "-1"], "--seeds '-1'"),
        ({"seeds": (0, 2**32)}, ["--seeds", "0,4294967296"], "--seeds '0,4294967296'"),
        ({"seeds": (0.5,)}, ["--seeds", "0.5"], "--seeds '0.5'"),
        ({"jobs": 0}, ["--jobs", "0"], "--jobs 0 is not a whole number above 0"),
        ({"limit": -3}, ["--limit", "-3"], "--limit -3 is not a whole number above 0"),
        ({**TASK, "changes": Changes(max_tokens=0)}, ["--scale", "paper", "--max-tokens", "0"], "--max-tokens 0"),
        ({**TASK, "changes": Changes(batch=-1)}, ["--scale", "paper", "--batch", "-1"], "--batch -1"),
        ({"changes": Changes(accumulate=0)}, ["--accumulate", "0"], "--accumulate 0"),
        ({"changes": Changes(learning_rate=-1.0)}, ["--learning-rate", "-1"], "--learning-rate -1 is not above 0"),
        ({"changes": Changes(batch=2)}, ["--batch", "2"], "go with --teacher or --scale paper"),
        ({"teacher": "x"}, ["--teacher", "x", "--protocol", "paper"], "--teacher goes with --protocol task"),
        (
            {"options": {"ratio": "0.5"}, "sweep": {"ratio": ("0.6",)}},
            ["--set", "ratio=0.5", "--sweep", "ratio=0.6"],
            "--sweep ratio: it has a value already",
        ),
    ],
)
def test_both_are_refused_alike(
    changes: dict[str, Any], arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as refused:
        RunConfig(**{"strategies": ("teacher",), "datasets": ("receipts-mini",), **changes})
    assert told in str(refused.value)
    assert main(["run", "--strategies", "teacher", "--datasets", "receipts-mini", *arguments]) == 2
    assert capsys.readouterr().err == f"donutbench: {refused.value}\n"


@pytest.mark.parametrize("values", [(), ("",)])
def test_a_sweep_has_values(values: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="--sweep ratio: there is no value, or an empty one"):
        RunConfig(("teacher",), ("receipts-mini",), sweep={"ratio": values})


@pytest.mark.parametrize(
    ("strategies", "datasets", "protocol"),
    [
        (("teachr",), ("receipts-mini",), "paper"),
        ((), ("receipts-mini",), "paper"),
        (("teacher",), ("receipt",), "paper"),
        (("teacher",), (), "paper"),
        (("teacher",), ("synthdog-mini",), "task"),
        (("int8",), ("receipts-mini",), "paper"),
    ],
)
def test_names_are_refused_alike(
    strategies: tuple[str, ...],
    datasets: tuple[str, ...],
    protocol: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError) as refused:
        set_up(RunConfig(strategies, datasets, protocol=protocol, output=tmp_path, device="cpu"))
    names = ["--strategies", ",".join(strategies), "--datasets", ",".join(datasets)]
    assert main(["run", *names, "--protocol", protocol, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"donutbench: {refused.value}\n"


def test_what_computes_with_something_that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*strategies: str) -> RunConfig:
        return RunConfig(strategies, ("receipts-mini",), protocol="task", output=tmp_path)

    monkeypatch.setattr("benchmark.running.cells.find_spec", lambda name: None)
    setup = set_up(run("teacher", "onnx"))
    assert [job.cell.strategy.name for job in setup.jobs] == ["teacher"]
    assert setup.remarks == ("onnx is left out: it needs onnx and onnxruntime: pip install onnx onnxruntime",)
    with pytest.raises(UserError, match=r"^onnx-int8 is left out"):
        set_up(run("onnx-int8"))
