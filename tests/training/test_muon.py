"""The optimizer: what it does is what PyTorch's own does, and it goes on from its state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmark.models.donut import Donut
from benchmark.pretraining.auxiliary import CellReader
from benchmark.training.muon import BatchedMuon, MuonWithAdam

SHAPES = ((24, 24), (24, 24), (48, 24), (24, 48), (7, 5), (1, 9))


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def descend(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("nesterov", [True, False])
def test_it_is_pytorchs_muon(nesterov: bool) -> None:
    ours, theirs = weights(), weights()
    options: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1, "nesterov": nesterov}
    descend(ours, BatchedMuon(ours, **options), 4)
    descend(theirs, torch.optim.Muon(theirs, **options, adjust_lr_fn="match_rms_adamw"), 4)
    for our, their, start in zip(ours, theirs, weights(), strict=True):
        # PyTorch computes in bfloat16, and in another order.
        torch.testing.assert_close(our - start, their - start, rtol=0.05, atol=5e-4)


def test_a_weight_without_gradient_stays() -> None:
    moved, kept = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    moved.grad = torch.eye(3)
    BatchedMuon([moved, kept], lr=0.1).step()
    assert torch.equal(kept, torch.ones(3, 3))
    assert not torch.equal(moved, torch.ones(3, 3))


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 6))


def test_it_goes_on_from_its_state() -> None:
    whole, parted = layers(), layers()
    one, first = MuonWithAdam(whole, 0.02), MuonWithAdam(parted, 0.02)
    descend(list(whole.parameters()), one, 2)
    descend(list(whole.parameters()), one, 2, seed=2)
    descend(list(parted.parameters()), first, 2)
    second = MuonWithAdam(parted, 0.5)
    second.load_state_dict(first.state_dict())
    descend(list(parted.parameters()), second, 2, seed=2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parted.state_dict()[name], value)


class TestParts:
    """Matrices go to Muon, all else to Adam at a fifth of the rate."""

    def test_every_weight_of_a_donut_has_one_optimizer(self, model: Donut) -> None:
        model.cell_reader = CellReader(model.encoder.config.hidden_size, model.decoder.config.vocab_size)
        optimizer = MuonWithAdam(model, 0.02)
        names = {id(weight): name for name, weight in model.named_parameters()}
        muon, adam = ([names[id(weight)] for weight in group["params"]] for group in optimizer.param_groups)
        tables = ("lm_head", "embed_tokens", "embed_positions", "relative_position_bias_table", "cell_reader")
        matrices = [
            name
            for name, weight in model.named_parameters()
            if weight.ndim == 2 and not any(table in name for table in tables)
        ]
        assert len(matrices) > 50
        assert sorted(muon) == sorted(matrices)
        assert sorted(adam) == sorted(set(names.values()) - set(matrices))

    def test_rates_and_decay(self) -> None:
        muon, adam = MuonWithAdam(layers(), 0.02).param_groups
        assert (muon["lr"], muon["weight_decay"]) == (0.02, 0.1)
        assert (adam["lr"], adam["weight_decay"]) == (pytest.approx(0.004), 0)
        assert MuonWithAdam(layers(), 0.02).defaults == {"lr": 0.02}

    def test_without_a_gradient_to_follow_only_matrices_decay(self) -> None:
        model = layers()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = MuonWithAdam(model, 0.02)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for name, value in model.state_dict().items():
            share = 1 - 0.02 * 0.1 if name in ("0.weight", "2.weight") else 1
            torch.testing.assert_close(value, before[name] * share)

    def test_the_rest_is_pytorchs_adam(self) -> None:
        model, other = layers(), layers()
        descend(list(model.parameters()), MuonWithAdam(model, 0.02), 4)
        rest = [other.get_parameter(name) for name in ("0.bias", "1.weight", "1.bias", "2.bias")]
        adam = torch.optim.Adam(rest, lr=0.004, betas=(0.9, 0.95))
        descend(list(other.parameters()), adam, 4)
        for name in ("0.bias", "1.weight", "1.bias", "2.bias"):
            torch.testing.assert_close(model.get_parameter(name), other.get_parameter(name))

    def test_a_schedule_reaches_both_also_after_loading(self) -> None:
        model = layers()
        optimizer = MuonWithAdam(model, 0.02)
        descend(list(model.parameters()), optimizer, 1)
        loaded = MuonWithAdam(model, 0.5)
        loaded.load_state_dict(optimizer.state_dict())
        assert [group["lr"] for group in loaded.param_groups] == pytest.approx([0.02, 0.004])
        for stopped in (optimizer, loaded):
            before = {name: value.clone() for name, value in model.state_dict().items()}
            for group in stopped.param_groups:
                group["lr"] = 0.0
            descend(list(model.parameters()), stopped, 1)
            assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_gradients_are_cleared(self) -> None:
        model = layers()
        optimizer = MuonWithAdam(model, 0.02)
        descend(list(model.parameters()), optimizer, 1)
        optimizer.zero_grad(set_to_none=False)
        assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in model.parameters())
