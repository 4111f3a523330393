"""The optimizer: what it does is what PyTorch's own does, and it goes on from its state."""

from __future__ import annotations

import torch
from torch import nn

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


def test_it_is_pytorchs_muon() -> None:
    ours, theirs = weights(), weights()
    descend(ours, BatchedMuon(ours, lr=0.02, weight_decay=0.1), 4)
    descend(theirs, torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), 4)
    for our, their, start in zip(ours, theirs, weights(), strict=True):
        # Both compute in bfloat16, in another order.
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
