"""A row of products through a run: factored by what it has looked at, trained, kept, measured, exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.factored import ranks_of
from benchmark.running.runner import run
from tests.running.runs import checkpoint_of, config, quick_measurements

pytestmark = pytest.mark.long


def test_it_is_kept_and_measured_as_what_it_is(tmp_path: Path) -> None:
    cell = config(
        tmp_path / "run",
        strategies=("svd-llm-distill",),
        protocol="task",
        limit=8,
        options={"ratio": "0.5", "documents": "3"},
    )
    with quick_measurements():
        (record,) = run(cell)
    assert (record.status, record.steps) == ("ok", 1), record.error
    assert record.calibration_hash is not None
    assert record.start == "teacher, linear layers factored by SVD-LLM to 50.0% of its parameters"
    assert record.efficiency is not None
    assert record.efficiency.params_nonembedding < 0.51 * 933_687
    assert (record.efficiency.macs or 0) < 0.6 * 178_341_888
    kept = load_model(checkpoint_of(cell, record))
    assert fingerprint(kept) == record.model_hash
    target = tmp_path / "mine"
    assert main(["export", str(tmp_path / "run"), record.cell, str(target)]) == 0
    again = load_model(target)
    assert fingerprint(again) == record.model_hash
    assert ranks_of(again) == ranks_of(kept)
    assert "load_checkpoint(FOLDER)" in (target / "README.md").read_text()
