"""A plain Donut of other people, and its scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.cli import main
from tests.foreign import save_foreign
from tests.models.edits import RECEIPTS, Evaluate


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Donut of subwords that knows no task; not to be changed."""
    folder = tmp_path_factory.mktemp("plain") / "donut"
    save_foreign(folder)
    return folder


@pytest.fixture
def donut(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "donut"))


@pytest.fixture
def evaluate(capfd: pytest.CaptureFixture[str]) -> Evaluate:
    """Exit code, output and lines of errors of `evaluate FOLDER`; what libraries write is among them."""

    def call(folder: Path, *options: str) -> tuple[int, str, list[str]]:
        capfd.readouterr()
        code = main(["evaluate", str(folder), "--dataset", RECEIPTS, "--limit", "1", "--device", "cpu", *options])
        out, err = capfd.readouterr()
        return code, out, err.splitlines()

    return call
