"""What has to be cut together: FFN units, heads, channels and layers, and where their weights lie.

A unit is a slice of several tensors, or a few layers. What removes it takes the same slice out of each, so that the
model that is left computes what it would with these weights at zero; for channels, whose norms then average over fewer,
what it would with norms over those that stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from transformers.models.mbart.modeling_mbart import MBartAttention

from benchmark.models.donut import Donut
from benchmark.models.shapes import derive_sizes, exchange, record_shapes
from benchmark.slicing.options import Kind


class Group(Protocol):
    """`count` units of one kind in one place, of which at least `least` have to stay."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def count(self) -> int: ...
    @property
    def least(self) -> int: ...

    def keep(self, model: Donut, units: torch.Tensor) -> None:
        """Leave only these, in place, in their order."""

    def sums(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """For each unit the sum of `values` (by parameter, of its shape) over its weights; none counts as zeros."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where the units of a group lie in a parameter: along `dim`, each `span` wide, all of them `copies` times over."""

    parameter: str
    dim: int
    span: int = 1
    copies: int = 1

    def indices(self, units: torch.Tensor, of: int) -> torch.Tensor:
        """Where these of the `of` units lie, in order."""
        within = (units[:, None] * self.span + torch.arange(self.span)).flatten()
        starts = torch.arange(self.copies)[:, None] * (of * self.span)
        return (starts + within).flatten()


@dataclass(frozen=True, slots=True)
class Slices:
    """Units that are slices of tensors. `writes` are the weights that make them, `reads` those that use them."""

    name: str
    kind: Kind
    count: int
    writes: tuple[Slice, ...]
    reads: tuple[Slice, ...]
    least: int = 1

    @property
    def slices(self) -> tuple[Slice, ...]:
        return self.writes + self.reads

    def keep(self, model: Donut, units: torch.Tensor) -> None:
        new: dict[nn.Parameter, nn.Parameter] = {}
        for part in self.slices:
            parameter = model.get_parameter(part.parameter)
            places = part.indices(units, self.count).to(parameter.device)
            smaller = new.get(parameter, parameter).detach().index_select(part.dim, places)
            new[parameter] = nn.Parameter(smaller, parameter.requires_grad)
        exchange(model, new)

    def sums(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self._sums(values, self.slices)

    def read(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """As `sums`, over what uses the units alone."""
        return self._sums(values, self.reads)

    def norms(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What makes a unit times what uses it, for a unit without either does nothing: square roots of both sums."""
        return (self._sums(values, self.writes) * self._sums(values, self.reads)).sqrt()

    def _sums(self, values: Mapping[str, torch.Tensor], slices: Iterable[Slice]) -> torch.Tensor:
        total = torch.zeros(self.count)
        for part in (part for part in slices if part.parameter in values):
            value = values[part.parameter].movedim(part.dim, 0)
            total += value.reshape(part.copies, self.count, -1).sum((0, 2)).cpu()
        return total


@dataclass(frozen=True, slots=True)
class Stack:
    """Units that are layers: each `span` that follow one another in the module list `modules`. The rest stays."""

    modules: str
    count: int
    span: int
    least: int
    kind: Kind = "layers"

    @property
    def name(self) -> str:
        return self.modules

    def keep(self, model: Donut, units: torch.Tensor) -> None:
        layers = model.get_submodule(self.modules)
        assert isinstance(layers, nn.ModuleList)
        gone = {int(u) for u in range(self.count)} - set(units.tolist())
        stays = [layer for i, layer in enumerate(layers) if i // self.span not in gone]
        owner, _, attribute = self.modules.rpartition(".")
        setattr(model.get_submodule(owner), attribute, nn.ModuleList(stays))
        for number, layer in enumerate(stays):
            for module in layer.modules():
                if isinstance(module, MBartAttention):
                    module.layer_idx = number  # where its keys and values lie in the cache

    def sums(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        total = torch.zeros(self.count)
        for name, value in values.items():
            number = name.removeprefix(f"{self.modules}.").partition(".")[0]
            if name.startswith(f"{self.modules}.") and int(number) // self.span < self.count:
                total[int(number) // self.span] += value.sum().cpu()
        return total


def cut(model: Donut, kept: Mapping[Group, Sequence[int]]) -> None:
    """Leave of these groups only these units, in place, in their order; the config of the model says so."""
    keep(model, kept)
    record_shapes(model)


@torch.no_grad()
def keep(model: Donut, kept: Mapping[Group, Sequence[int]]) -> None:
    """As `cut`, but the config still describes the model that it was: for one that is looked at and forgotten."""
    for group, units in kept.items():
        group.keep(model, torch.tensor(sorted(units), dtype=torch.long))
    derive_sizes(model)
