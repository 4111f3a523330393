"""Linear layers as the product of two, of a rank between them: what is saved of that, and how it is put back.

The config of such a model has the architecture of the whole one, and under ``factored`` the rank of every layer that
is a product: data, which any reader may check. What of the two has been cut out stands under ``shapes``, by their own
names (`benchmark.models.shapes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from benchmark.models.donut import Donut

Ranks = Mapping[str, int]
"""By the name of the layer."""


class FactoredLinear(nn.Module):
    """A linear layer whose weight is `up` x `down`: to `rank` features without a bias, and from there with the bias."""

    def __init__(self, down: torch.Tensor, up: torch.Tensor, bias: nn.Parameter | None) -> None:
        """`down` is (rank, inputs), `up` (outputs, rank)."""
        super().__init__()
        self.down = _linear(down, None)
        self.up = _linear(up, bias)

    @property
    def in_features(self) -> int:
        return self.down.in_features

    @property
    def out_features(self) -> int:
        return self.up.out_features

    @property
    def rank(self) -> int:
        return self.down.out_features

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs)."""
        written: torch.Tensor = self.up(self.down(states))
        return written


def _linear(weight: torch.Tensor, bias: nn.Parameter | None) -> nn.Linear:
    """A layer of these weights; none are drawn for it before."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight, layer.bias = nn.Parameter(weight), bias  # type: ignore[assignment] # None where there is none
    return layer


def linear_layers(model: Donut) -> dict[str, nn.Linear]:
    """Those that may be factored, by name: not the head, which is the token table, nor the parts of a product."""
    found, within = dict[str, nn.Linear](), set[nn.Module]()
    for name, module in model.named_modules():
        if isinstance(module, FactoredLinear):
            within |= {module.down, module.up}
        elif isinstance(module, nn.Linear) and module is not model.decoder.lm_head and module not in within:
            found[name] = module
    return found


def take_factored(model: Donut, ranks: Ranks) -> None:
    """Make products of these ranks of linear layers, in place; their values are not set.

    `ValueError` for a layer that is not there, and for a rank that is none or not below both sides of the layer.
    """
    if not isinstance(ranks, Mapping):
        raise ValueError(f"its config has {ranks!r} for factored")
    layers = linear_layers(model)
    for name, rank in ranks.items():
        if name not in layers:
            raise ValueError(f"its config factors {name}, which is no linear layer of the model")
        outputs, inputs = (weight := layers[name].weight).shape
        if type(rank) is not int or not 0 < rank < min(outputs, inputs):  # any file may hold it
            raise ValueError(f"its config gives {name} the rank {rank!r}, factored from {[outputs, inputs]}")
        put_factors(model, name, weight.new_empty(rank, inputs), weight.new_empty(outputs, rank))


def put_factors(model: nn.Module, name: str, down: torch.Tensor, up: torch.Tensor) -> None:
    """Put the product of `down` (rank, inputs) and `up` (outputs, rank) in the place of a linear layer."""
    layer, (owner, _, attribute) = model.get_submodule(name), name.rpartition(".")
    assert isinstance(layer, nn.Linear)
    product = FactoredLinear(down, up, layer.bias).train(layer.training)
    setattr(model.get_submodule(owner), attribute, product)


def ranks_of(model: nn.Module) -> dict[str, int]:
    """The rank of each product, by name."""
    return {name: module.rank for name, module in model.named_modules() if isinstance(module, FactoredLinear)}
