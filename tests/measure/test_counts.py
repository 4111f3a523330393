"""Parameters and bytes, against counts by hand and real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.measure.parameters import count_parameters
from benchmark.models.checkpoint import save_model
from benchmark.models.donut import Donut
from benchmark.models.packed import dense_bytes, dense_state, packed_bytes, packed_state
from benchmark.models.parameters import prunable


class Small(nn.Module):
    """A tied table of 10 x 4, a linear layer of 4 x 16 with bias, a norm of 16 and a buffer of 3."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.linear = nn.Linear(4, 16)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("steps", torch.arange(3))
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(64).reshape(16, 4) < 8)
            self.linear.bias.fill_(1)


def data_bytes(state: dict[str, torch.Tensor]) -> int:
    return sum(value.nbytes for value in state.values())


def test_parameters_of_a_small_model() -> None:
    counts = count_parameters(Small())
    assert (counts.total, counts.embedding, counts.nonembedding) == (40 + 80 + 32, 40, 80 + 32)
    # 8 of the weights, the biases of the layer, the scales of the norm; its biases are zeros.
    assert counts.nonzero == 8 + 16 + 16
    assert counts.density == 40 / 112


def test_bytes_of_a_small_model() -> None:
    model = Small()
    assert data_bytes(dense_state(model)) == 4 * (40 + 80 + 32) + 8 * 3
    # The layer: 8 values of 4 bytes and 64 bits.
    assert data_bytes(packed_state(model)) == 4 * (40 + 16 + 32) + 8 * 3 + 8 * 4 + 64 // 8


def test_half_precision_counts_as_float32() -> None:
    assert dense_bytes(Small().half()) == dense_bytes(Small())


def test_a_tensor_with_few_zeros_stays_dense() -> None:
    model = Small()
    with torch.no_grad():
        model.linear.weight.fill_(1)
        model.linear.weight[0, :2] = 0  # 2 x 4 bytes saved, a mask of 8 bytes
    assert packed_state(model).keys() == dense_state(model).keys()
    with torch.no_grad():
        model.linear.weight[0, 2] = 0
    assert "linear.weight.mask" in packed_state(model)


def test_dense_bytes_are_those_of_the_checkpoint(teacher: Donut, tmp_path: Path) -> None:
    save_model(teacher, tmp_path / "model")
    assert dense_bytes(teacher) == (tmp_path / "model" / "model.safetensors").stat().st_size


def test_the_packed_state_holds_all(pruned: Donut) -> None:
    packed = packed_state(pruned)
    assert any(name.endswith(".mask") for name in packed)
    for name, value in dense_state(pruned).items():
        if name in packed:
            assert torch.equal(packed[name], value)
        else:
            bits = np.unpackbits(packed[f"{name}.mask"].numpy(), count=value.numel()).astype(bool)
            restored = torch.zeros(value.numel())
            restored[torch.from_numpy(bits)] = packed[f"{name}.values"]
            assert torch.equal(restored.view(value.shape), value)


def test_pruning_changes_what_it_should(teacher: Donut, pruned: Donut) -> None:
    before, after = count_parameters(teacher), count_parameters(pruned)
    assert (after.total, after.embedding) == (before.total, before.embedding)
    assert after.nonembedding == before.nonembedding
    zeros = sum(round(0.74 * weight.numel()) for weight in prunable(teacher).values())
    assert after.nonzero == before.nonzero - zeros
    assert packed_bytes(teacher) == dense_bytes(teacher) == dense_bytes(pruned)
    assert packed_bytes(pruned) < 0.35 * dense_bytes(pruned)


def test_prunable_tensors_take_29_percent_at_74_percent_sparsity(pruned: Donut) -> None:
    dense = sum(weight.nbytes for weight in prunable(pruned).values())
    spared = data_bytes(dense_state(pruned)) - data_bytes(packed_state(pruned))
    assert (dense - spared) / dense == pytest.approx(0.26 + 1 / 32, abs=1e-3)
