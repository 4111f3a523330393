"""Rows that write fewer tokens, or read fewer cells, through a run: started, trained, kept, scored, measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.donut import Donut
from benchmark.models.processor import fixed_tokens
from benchmark.models.vocabulary import tokens_of
from benchmark.records.record import Record
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.truth import to_text
from benchmark.types import Dataset
from benchmark.zoo.store import open_zoo
from tests.running.runs import checkpoint_of, config

pytestmark = pytest.mark.long

ROWS = """
from benchmark import FeatureDistillation, Strategy, fewer_cells, hookimpl
from donutbench_strategies.vocabulary_trim import Trimmed

@hookimpl
def donutbench_register_strategies():
    for name, start in [("fewer-tokens", Trimmed(documents=6)), ("fewer-cells", fewer_cells("ink", 0.4))]:
        yield Strategy(name, "", start, FeatureDistillation(), protocols=("task",))
"""
MACS, PARAMETERS, WIDTH = 178_341_888, 969_111, TINY.teacher.decoder_width


def made(name: str, plugin: Callable[[str], Path], output: Path) -> tuple[Record, Donut]:
    of = config(output, strategies=(name,), protocol="task", limit=8, plugins=(plugin(ROWS),))
    (record,) = run(of)
    assert (record.status, record.steps) == ("ok", 1), record.error
    model = load_model(checkpoint_of(of, record))
    assert fingerprint(model) == record.model_hash
    assert record.metrics is not None
    assert record.metrics.cka is not None
    return record, model


def test_fewer_tokens(plugin: Callable[[str], Path], datasets: dict[str, Dataset], tmp_path: Path) -> None:
    record, model = made("fewer-tokens", plugin, tmp_path)
    receipts, processor = datasets["receipts-mini"], open_zoo(TINY).processor()
    texts = [to_text(document.ground_truth, frozenset()) for document in receipts.open(TINY, "train", 0, 6)]
    written = {token for row in processor.tokenizer(texts, add_special_tokens=False)["input_ids"] for token in row}
    assert set(tokens_of(model)) == written | fixed_tokens(processor, receipts)
    assert record.calibration_hash is not None
    assert record.start == "teacher, trimmed to the tokens of 6 documents"
    gone = len(processor.tokenizer) - len(tokens_of(model))
    assert record.efficiency is not None
    assert record.efficiency.params_total == PARAMETERS - gone * WIDTH
    assert record.efficiency.macs == MACS - 64 * gone * WIDTH


def test_fewer_cells(plugin: Callable[[str], Path], tmp_path: Path) -> None:
    record, model = made("fewer-cells", plugin, tmp_path)
    assert model.encoder.selection is not None
    assert record.calibration_hash is None
    assert record.start == "teacher, its decoder reading 40% of the cells, by ink"
    cells = TINY.grid[0] * TINY.grid[1]
    gone = cells - round(0.4 * cells)
    assert record.efficiency is not None
    assert record.efficiency.params_total == PARAMETERS
    assert record.efficiency.macs == MACS - 4 * (2 * WIDTH * WIDTH + 2 * 64 * WIDTH) * gone
