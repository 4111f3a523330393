"""Trainings under a constraint without documents: real steps of Adam, gradients drawn by the number of the step."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn

from benchmark.types import Attached

TABLES = ("embed_tokens.weight", "embed_positions.weight", "bridge.rows", "bridge.columns", "lm_head.weight")


def size(model: nn.Module) -> int:
    """Parameters but those of the tables, which are said by name."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.endswith(TABLES))


def zeros(model: nn.Module) -> int:
    return sum(int((p == 0).sum()) for name, p in model.named_parameters() if not name.endswith(TABLES))


class Walk:
    """Steps of a model under what is attached to it, each the same whenever it is taken."""

    def __init__(self, model: nn.Module, attached: Attached, rate: float = 1e-3) -> None:
        self.model, self.attached = model, attached
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate)

    def go(self, first: int, last: int, look: Callable[[int], None] = lambda step: None) -> None:
        """The steps from `first` to `last`; `look` is called when the weights have moved, before the constraint is."""
        for step in range(first, last + 1):
            generator = torch.Generator().manual_seed(step)
            for parameter in self.model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            self.attached.before_step(step)
            self.optimizer.step()
            look(step)
            self.attached.after_step(step)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def broken_off(model: nn.Module, attach: Callable[[nn.Module], Attached], steps: int, at: int) -> tuple[bool, int]:
    """Whether a training that ends after step `at` and is taken up again is the unbroken one; tensors it had kept.

    As a killed training does it: attached anew to the model of the beginning, state and weights put back, and then the
    optimizer.
    """
    first, again = deepcopy(model), deepcopy(model)
    walk = Walk(first, attach(first))
    walk.go(1, at)
    kept = {name: tensor.clone() for name, tensor in walk.attached.state().items()}
    saved, optimizer = weights(first), deepcopy(walk.optimizer.state_dict())
    walk.go(at + 1, steps)
    resumed = Walk(again, attach(again))
    resumed.attached.restore(kept)
    with torch.no_grad():
        for name, parameter in again.named_parameters():
            parameter.copy_(saved[name])
    resumed.optimizer.load_state_dict(optimizer)
    resumed.go(at + 1, steps)
    resumed.attached.check()
    return same(weights(first), weights(again)), len(kept)
