"""A machine that others use too: who waits does not spin, and small models do not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import DonutProcessor

from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.scoring import predict
from benchmark.scoring.predict import Reading, decode

SAY = "import os, sys, benchmark; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "False 1000"),
        ({"GOMP_SPINCOUNT": "7"}, "False 7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "False None"),
    ],
    ids=["default", "count of the user", "policy of the user"],
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(given: dict[str, str], said: str) -> None:
    """It counts only if it is set before torch is loaded."""
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=Path(__file__).parents[1],
        env={**plain, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == said


@pytest.mark.parametrize(("weights", "threads"), [(10**9, 1), (10, 2)], ids=["small", "large"])
def test_a_small_model_is_read_with_on_one_thread(
    weights: int,
    threads: int,
    model: Donut,
    processor: DonutProcessor,
    pages: EncodedDocuments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def write(*_: object) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return torch.zeros(len(pages), 1, dtype=torch.long)

    monkeypatch.setattr(predict, "reading_of", lambda model: Reading(write, model.encoder, model.decoder))
    monkeypatch.setattr(predict, "_SMALL", weights)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        decode(model, processor, pages.pages, "<s_receipts-mini>", 10)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [threads]
