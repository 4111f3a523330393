"""Two processes on one output folder: the second is told who is there, and one that was killed holds nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.errors import OutputError, UserError
from benchmark.records.lock import held
from tests.test_cli import complaint

ROOT = Path(__file__).parents[1]
HOLD = """
import os, sys, time
from pathlib import Path
from benchmark.records.lock import held

with held(Path(sys.argv[1])):
    if {forks}:
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
    else:
        print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(folder: Path, forks: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until it reads a line."""
    command = [sys.executable, "-c", HOLD.format(forks=forks), str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.first = process.stdout.readline().strip()  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.kill()


COMMANDS = [
    ["run", "--strategies", "teacher", "--datasets", "receipts-mini", "--limit", "2", "--device", "cpu", "--output"],
    ["rates", "--strategies", "prune-finetune", "--datasets", "receipts-mini", "--limit", "2", "--output"],
    ["costs", "--strategies", "teacher", "--scale", "tiny", "--device", "cpu", "--output"],
    ["rescore"],
]


def test_who_writes_too_is_told_who_is_there_and_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(tmp_path) as process:
        for command in COMMANDS:
            told = complaint(capsys, *command, str(tmp_path))
            place = f"process {process.pid} on {platform.node()} since 20"
            assert told.startswith(f"donutbench: {tmp_path} is written to by {place}"), command
            assert f"{sys.executable} -c" in told
            assert "take another folder" in told
        assert [path.name for path in tmp_path.iterdir()] == [".lock"], "nothing is written beside it"
        assert main([*COMMANDS[0], str(tmp_path), "--dry-run"]) == 0, "who only looks is not refused"
        process.communicate("go\n")
    assert list(tmp_path.iterdir()) == [], "it takes its file with it"


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert (tmp_path / ".lock").is_file()
        with held(tmp_path):
            assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()
    assert list(tmp_path.iterdir()) == []


def test_what_it_has_forked_holds_nothing_either(tmp_path: Path) -> None:
    with holder(tmp_path, forks=True) as process:
        child = int(process.first)  # type: ignore[attr-defined]
        process.kill()
        process.wait()
        os.kill(child, 0)  # it is there still
        with held(tmp_path):
            os.kill(child, 9)
            assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


def test_one_process_holds_it_once_and_again_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        with held(folder), held(tmp_path):
            (tmp_path / "link").symlink_to(folder)
            for same in (folder, tmp_path / "link"):
                with pytest.raises(UserError, match=f"written to by process {os.getpid()} on"), held(same):
                    pass
            (tmp_path / "link").unlink()
    assert list(folder.iterdir()) == []


def test_what_fails_inside_lets_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(tmp_path):
            raise ZeroDivisionError


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    with held(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^cannot write .*file/folder/\.lock: "), held(tmp_path / "file" / "folder"):
        pass


def test_the_end_takes_nobody_else_s_file_away(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        file = tmp_path / ".lock"
        file.unlink()  # as one that is thought to be left over
        file.write_text("of another")
        assert other.stdin is not None
        other.stdin.write("end\n")
        other.stdin.flush()
        other.wait()
        assert file.read_text() == "of another"
