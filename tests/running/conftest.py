"""A run of six cells that several tests look at, and what a run costs least with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from benchmark.measure import measure
from benchmark.running.runner import run
from benchmark.running.setup import RunConfig
from tests.running.runs import DATASETS, STRATEGIES, Records, config


@contextmanager
def _quick_measurements() -> Iterator[None]:
    """Latency over one page: it is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.running.costs.measure", partial(measure, rounds=3))
        yield


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with _quick_measurements():
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
    with _quick_measurements():
        return {(record.strategy, record.dataset): record for record in run(whole)}
