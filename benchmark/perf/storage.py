"""Bytes of a pruned model: zeros left out against zeros stored."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.models.checkpoint import load_model
from benchmark.models.packed import dense_bytes, dense_state, packed_bytes, packed_state, unpacked
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.parts.starts import sparsity_of
from benchmark.perf.comparison import Comparison
from benchmark.records.record import Interval
from benchmark.types import Dataset

_TARGET = "paper-table"


def compare(receipts: Dataset, teacher: Path) -> Comparison:
    model = load_model(teacher)
    prune_globally(model, magnitudes(model), sparsity_of(_TARGET))
    packed, dense = packed_bytes(model), dense_bytes(model)
    stored, again = dense_state(model), unpacked(packed_state(model), model)
    return Comparison(
        name="packed weights",
        documents=f"the tiny zoo's teacher of {receipts.name}, {sparsity_of(_TARGET):.1%} pruned by magnitude",
        our_way="nonzero weights and a bit mask",
        other_way="dense safetensors",
        unit="bytes",
        ours=packed,
        alternative=dense,
        ratio=Interval(value=dense / packed),
        repeats=1,
        same=stored.keys() == again.keys() and all(torch.equal(stored[name], again[name]) for name in stored),
    )
