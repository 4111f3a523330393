"""What a terminal cannot show, and a file cannot hold, is escaped."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.errors import error_line, one_line
from benchmark.records.files import read_record, write_record
from tests.test_results import make_record

ROOT = Path(__file__).parents[1]
PLUGIN = """
from benchmark import Strategy, hookimpl

@hookimpl
def donutbench_register_strategies():
    yield Strategy("mine", "é 𝄞", start=print)
"""


class Terminal(io.TextIOWrapper):
    """An output in one encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    @property
    def shown(self) -> str:
        self.flush()
        content = self.buffer
        assert isinstance(content, io.BytesIO)
        return content.getvalue().decode(self.encoding)


@pytest.fixture(params=["é.py", "\udcff.py"])
def plugin(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A plugin with a name that not every terminal shows, or that none does."""
    path = tmp_path / str(request.param)
    path.write_text(PLUGIN, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_table_is_printed_whatever_the_terminal(encoding: str, plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["list", "--plugin", plugin]) == 0
    (line,) = [line for line in terminal.shown.splitlines() if " mine " in line]
    assert {"ascii": "\\xe9 \\U0001d11e", "latin-1": "é \\U0001d11e", "utf-8": "é 𝄞"}[encoding] in line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_whatever_the_terminal(encoding: str, plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["list", "--json", "--plugin", plugin]) == 0
    summaries = {row["name"]: row["summary"] for row in json.loads(terminal.shown)["strategies"]}
    assert summaries["mine"] == "é 𝄞"


@pytest.mark.parametrize("name", ["é", "\udcff"])
def test_in_a_plain_c_locale_too(name: str, tmp_path: Path) -> None:
    """The path of the output, in ASCII, of what is no folder."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **plain, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins", *sys.path)))}
    command = [sys.executable, "-m", "benchmark", "generate", "receipts-mini", str(tmp_path / name), "--documents", "1"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.isascii()
    assert ran.stdout.startswith(f"see {tmp_path}".encode())
    assert (tmp_path / name / "train").is_dir()


def test_an_error_with_half_a_surrogate_pair_is_recorded(tmp_path: Path) -> None:
    line = error_line(RuntimeError("no \udcff é"))
    assert line == "RuntimeError: no \\udcff é"
    record = make_record(status="failed", metrics=None, error=line)
    assert read_record(write_record(tmp_path, record)) == record


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n b\tc", "a b c"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("\u202eterces", "\\u202eterces"),
        ("no \udcff é 東", "no \\udcff é 東"),
    ],
)
def test_a_line_steers_no_terminal(text: str, told: str) -> None:
    assert one_line(text) == told


def test_nor_does_a_name_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--strategies", "\x1b[2Jprune"]) == 2
    told = capsys.readouterr().err
    assert "\\x1b[2Jprune" in told
    assert "\x1b" not in told
