"""What the tests of runs do with a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DonutProcessor

from benchmark.measure import measure
from benchmark.models.parameters import prunable
from benchmark.records.record import Metrics, Record
from benchmark.running import execution
from benchmark.running.config import RunConfig
from benchmark.running.outcome import Outcome, Task, carry_out
from benchmark.types import Calibration

STRATEGIES = ("teacher", "prune", "prune-distill")
DATASETS = ("synthdog-mini", "receipts-mini")

ALONE = """
import json, sys
from PIL import Image
from transformers import DonutProcessor, VisionEncoderDecoderModel

folder, page = sys.argv[1:]
model = VisionEncoderDecoderModel.from_pretrained(folder)
processor = DonutProcessor.from_pretrained(folder)
pixels = processor(Image.open(page).convert("RGB"), return_tensors="pt").pixel_values
tokens = model.generate(pixels)[0, 1:].tolist()
assert "benchmark" not in sys.modules
print(json.dumps([tokens, model.config.architectures]))
"""
"""What somebody does with an exported folder who has never heard of donutbench."""

Records = dict[tuple[str, str], Record]
"""By strategy and data set."""


def config(output: Path, **changes: Any) -> RunConfig:
    """A cheap cell: four documents of one data set, nothing trained."""
    cheap = RunConfig(("teacher",), ("receipts-mini",), output=output, device="cpu", limit=4)
    return replace(cheap, **changes)


@contextmanager
def quick_measurements() -> Iterator[None]:
    """Latency over one page, and no other process for the memory: it is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.measure.apart", lambda device: nullcontext())
        patch.setattr("benchmark.running.costs.measure", partial(measure, rounds=3))
        yield


def own_metrics(record: Record) -> Metrics:
    """Without the agreement with the teacher's row, which not every run has."""
    assert record.metrics is not None
    return record.metrics.model_copy(update={"agreement": None})


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


def read_by_transformers(folder: Path, page: Path, processor: DonutProcessor) -> str:
    """What is read from a page in a process that knows `transformers` alone."""
    command = [sys.executable, "-c", ALONE, str(folder), str(page)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=page.parent)
    tokens, architectures = json.loads(ran.stdout)
    assert architectures == ["VisionEncoderDecoderModel"]
    ends = (processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id)
    return str(processor.tokenizer.decode([t for t in tokens if t not in ends], skip_special_tokens=False))


class Watch:
    """Writes down which cells are really run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []

        def watched(task: Task, *rest: Any) -> Outcome:
            if task.scored:
                self.made.append(task.job.cell.strategy.name)
            return carry_out(task, *rest)

        monkeypatch.setattr(execution, "carry_out", watched)


def no_data(count: int, draw: int) -> Calibration:
    raise AssertionError("this start looks at no data")


def no_text(count: int) -> frozenset[int]:
    raise AssertionError("this start looks at no text")
