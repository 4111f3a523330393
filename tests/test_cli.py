"""The command line: exit codes, one-line errors, and that it stays quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.cli.run import parse_settings, parse_sweep
from benchmark.running.config import parse_seeds
from benchmark.scales import SCALES

ROOT = Path(__file__).parents[1]
PLUGIN = """
from types import SimpleNamespace
import numpy as np
from benchmark import Dataset, Document, Strategy, hookimpl

def pages(scale, split, seed, count):
    values = np.random.default_rng([seed, len(split)]).integers(0, 256, (count, 8, 12), np.uint8)
    return [Document(f"{split}-{i}", page, {"total": f"{i} é"}) for i, page in enumerate(values)]

@hookimpl
def donutbench_register_strategies():
    yield Strategy("test-strategy", "[a] strategy", start=pages, paper="Nobody 2020, sec. 1")

@hookimpl
def donutbench_register_datasets():
    yield Dataset("test-pages", "noise", task="extraction", keys=("total",), open=pages)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return str(path)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a wrong use prints: nothing on stdout, one line on stderr, and exit code 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", [["--help"], ["list"], ["list", "--json"], ["run", "--help"]])
def test_what_only_tells_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from benchmark.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules);"
        "print(*heavy, file=sys.stderr);"
        "sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr.strip() == ""


def test_the_module_runs_like_the_console_script() -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--scale", "tyni"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "donutbench: unknown scale 'tyni': did you mean tiny or mini?\n"


def test_the_console_script_runs_beside_a_file_of_the_package_s_name(tmp_path: Path) -> None:
    """``python -m benchmark`` runs that file, as Python looks into the working directory first."""
    (tmp_path / "benchmark.py").write_text("raise SystemExit('not this one')\n")
    command = [sys.executable, str(Path(sys.executable).with_name("donutbench")), "run", "--scale", "tyni"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins", *sys.path)))}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr == "donutbench: unknown scale 'tyni': did you mean tiny or mini?\n"


def test_list_tells_where_each_thing_comes_from(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json", "--plugin", plugin]) == 0
    listing = json.loads(capsys.readouterr().out)
    row = {
        "name": "test-strategy",
        "summary": "[a] strategy",
        "source": plugin,
        "paper": "Nobody 2020, sec. 1",
        "protocols": "paper, task",
    }
    assert row in listing["strategies"]
    assert {"name": "test-pages", "summary": "noise", "source": plugin, "paper": ""} in listing["datasets"]
    assert {row["name"] for row in listing["scales"]} == set(SCALES)


def test_list_prints_a_row_a_line(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--plugin", plugin]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "test-strategy" in line]
    assert len(lines) == 1
    assert "[a] strategy" in lines[0]
    assert "Nobody 2020" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["rum"], "'run'"),
        ([], "Missing command"),
        (["run", "--stratgies", "all"], "--strategies"),
        (["run", "--scale", "tyni"], "unknown scale 'tyni': did you mean tiny or mini?"),
        (["run", "--budget", "ful"], "unknown budget 'ful': did you mean full?"),
        (["run", "--executor", "locl"], "unknown executor 'locl': did you mean local?"),
        (["run", "--device", "cudaa"], "unknown device 'cudaa': did you mean cuda"),
        (["run", "--limit", "0"], "--limit"),
        (["run", "--plugin", "nowhere.py"], "plugin nowhere.py: no such Python file"),
        (["report", "nowhere"], "nowhere"),
        (["evaluate", "x", "--dataset", "y", "--scale", "huge"], "unknown scale 'huge'"),
        (["predict", "x", "nowhere.png"], "nowhere.png"),
        (["pretrain"], "--scale"),
        (["generate", "x", "y", "--documents", "0"], "--documents"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in complaint(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--strategies", "test-strategi"], "unknown strategy 'test-strategi': did you mean test-strategy"),
        (["--datasets", "test-page"], "unknown dataset 'test-page': did you mean test-pages"),
        (["--seeds", "0,x"], "--seeds '0,x'"),
        (["--seeds", ""], "--seeds ''"),
        (["--seeds", "\u0661"], "--seeds '\u0661'"),
        (["--seeds", "1_000"], "--seeds '1_000'"),
        (["--seeds", "+1"], "--seeds '+1'"),
        (["--seeds", "1" * 5000], "--seeds '111"),
        (["--set", "target"], "--set 'target' is not key=value"),
        (["--set", "=half"], "--set '=half' is not key=value"),
        (["--sweep", "target"], "--sweep 'target' is not key=value,value"),
        (["--sweep", "target=half,"], "--sweep 'target=half,' is not key=value,value"),
        (["--sweep", "target=half", "--set", "target=0.9"], "--sweep target: it has a value already"),
        (["--sweep", "target=half", "--sweep", "target=0.9"], "--sweep target: it has a value already"),
    ],
)
def test_a_run_is_checked_before_anything_heavy_loads(
    arguments: list[str], wanted: str, plugin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in complaint(capsys, "run", "--plugin", plugin, *arguments)


def test_seeds_settings_and_sweeps() -> None:
    assert parse_sweep(["ratio=2, 4,2", "of=macs"]) == {"ratio": ("2", "4"), "of": ("macs",)}
    assert parse_seeds("2, 0,2") == (2, 0)
    assert parse_settings(["target=half", "expression=a=b", "empty="]) == {
        "target": "half",
        "expression": "a=b",
        "empty": "",
    }


def test_what_nobody_has_foreseen_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("what\nis this")

    monkeypatch.setattr("benchmark.cli.listing.load_plugins", breaks)
    monkeypatch.delenv("DONUTBENCH_DEBUG", raising=False)
    said = complaint(capsys, "list")
    assert said.startswith("donutbench: RuntimeError: what is this (test_cli.py, line ")
    assert "DONUTBENCH_DEBUG=1" in said
    monkeypatch.setenv("DONUTBENCH_DEBUG", "1")
    assert main(["list"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_is_one_line_and_exit_130(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "interrupted.py"
    path.write_text("raise KeyboardInterrupt\n")
    assert main(["list", "--plugin", str(path)]) == 130
    assert capsys.readouterr().err == "donutbench: interrupted\n"


def test_an_output_that_cannot_be_written_is_one_line(
    plugin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    target = str(tmp_path / "file" / "folder")
    assert target.rpartition("/")[0] in complaint(
        capsys, "generate", "test-pages", target, "--documents", "1", "--plugin", plugin
    )
