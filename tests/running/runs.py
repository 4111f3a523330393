"""What the tests of runs do with a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.measure import measure
from benchmark.models.parameters import prunable
from benchmark.records.record import Record
from benchmark.running import execution
from benchmark.running.outcome import Outcome, Task, carry_out
from benchmark.running.setup import RunConfig
from benchmark.types import Calibration

STRATEGIES = ("teacher", "prune", "prune-distill")
DATASETS = ("synthdog-mini", "receipts-mini")

Records = dict[tuple[str, str], Record]
"""By strategy and data set."""


def config(output: Path, **changes: Any) -> RunConfig:
    """A cheap cell: four documents of one data set, nothing trained."""
    cheap = RunConfig(("teacher",), ("receipts-mini",), output=output, device="cpu", limit=4)
    return replace(cheap, **changes)


@contextmanager
def quick_measurements() -> Iterator[None]:
    """Latency over one page: it is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.running.costs.measure", partial(measure, rounds=3))
        yield


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def gone(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight == 0 for name, weight in prunable(model).items()}


def zeros_of(model: torch.nn.Module) -> int:
    return sum(int(zeros.sum()) for zeros in gone(model).values())


def checkpoint_of(run_config: RunConfig, record: Record) -> Path:
    return run_config.output / "checkpoints" / record.cell


class Watch:
    """Writes down which cells are really run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []

        def watched(task: Task, *rest: Any) -> Outcome:
            if task.scored:
                self.made.append(task.job.cell.strategy.name)
            return carry_out(task, *rest)

        monkeypatch.setattr(execution, "carry_out", watched)


def no_data(count: int) -> Calibration:
    raise AssertionError("this start looks at no data")
