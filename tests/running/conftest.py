"""A run of six cells that several tests look at, and what a run costs least with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.running.config import RunConfig
from benchmark.running.runner import run
from tests.running.runs import DATASETS, STRATEGIES, Records, config, quick_measurements


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with quick_measurements():
        yield


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "plugin.py"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    # A weight that the zoo's prune-distill was not made with: this one has to learn upstream itself.
    options = {"weight": "1.5"}
    output = tmp_path_factory.mktemp("whole")
    return config(output, strategies=STRATEGIES, datasets=DATASETS, limit=24, options=options)


@pytest.fixture(scope="session")
def finished(whole: RunConfig) -> Records:
    """The records of a run of six cells."""
    with quick_measurements():
        return {(record.strategy, record.dataset): record for record in run(whole)}
