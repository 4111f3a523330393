"""A structured row through a run: cut, trained, kept, measured."""

from __future__ import annotations

from pathlib import Path

from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.running.config import RunConfig
from benchmark.running.runner import run
from tests.running.runs import checkpoint_of, config


def of(output: Path, importance: str) -> RunConfig:
    return config(
        output,
        strategies=("structured-ffn-distill",),
        protocol="task",
        limit=8,
        options={"importance": importance, "documents": "3"},
    )


def test_what_it_has_looked_at_is_in_the_record_and_its_costs_are_smaller(tmp_path: Path) -> None:
    (record,) = run(of(tmp_path, "taylor"))
    assert (record.status, record.steps) == ("ok", 1), record.error
    assert record.calibration_hash is not None
    assert record.start == "teacher, FFN units cut by taylor to 75.0% of its parameters"
    assert record.efficiency is not None
    assert record.efficiency.params_nonembedding < 0.76 * 933_687
    assert (record.efficiency.macs or 0) < 0.85 * 178_341_888
    assert fingerprint(load_model(checkpoint_of(of(tmp_path, "taylor"), record))) == record.model_hash


def test_magnitude_looks_at_nothing(tmp_path: Path) -> None:
    (record,) = run(of(tmp_path, "magnitude"))
    assert (record.status, record.calibration_hash) == ("ok", None), record.error
