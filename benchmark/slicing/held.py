"""Units that are held at zero while their model trains, and cut out of it in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import VisionEncoderDecoderModel

from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.parameters import non_embeddings
from benchmark.slicing.budget import TOLERANCE, in_order
from benchmark.slicing.donut import groups
from benchmark.slicing.groups import Group, cut
from benchmark.slicing.options import Allocation
from benchmark.types import Attached

ByGroup = Mapping[str, torch.Tensor]
"""A value for each unit, (units,), of each group, by its name."""


class UnitMask(Attached):
    """FFN units and heads of which a part is held at zero: these do nothing then, so cutting them changes nothing.

    What is gone stays gone. Channels are no such units: at zero they still count in the norms.
    """

    def __init__(self, model: VisionEncoderDecoderModel, share: float, allocation: Allocation = "uniform") -> None:
        """In the end `share` of the parameters that are no embeddings is left.

        Under a ``uniform`` `allocation` every group loses the same share of its units, under an ``absolute`` one those
        of the lowest scores go, wherever they are. Raises `UserError` if nothing comes near enough.
        """
        assert isinstance(model, Donut)
        self._model = model
        self._share = share
        self._allocation = allocation
        self._groups = {group.name: group for group in groups(model) if group.kind in ("ffn", "heads")}
        self._whole = sum(parameter.numel() for parameter in non_embeddings(model).values())
        named = model.named_parameters(remove_duplicate=False)
        self.sizes = self.sums({name: torch.ones(()).expand(parameter.shape) for name, parameter in named})
        """Parameters of each unit."""
        self._gone = self._none()
        nearest = self._share_without(self._lowest(self.sums({}), share))
        if abs(nearest / share - 1) > TOLERANCE:
            raise UserError(f"the nearest to {share:.1%} of the parameters that can be left is {nearest:.1%}")

    def sums(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """For each unit the sum of `values` (by parameter, of its shape) over its weights."""
        return {name: group.sums(values) for name, group in self._groups.items()}

    def shrink(self, scores: ByGroup, share: float) -> None:
        """Let the units of the lowest scores go until about `share` of the parameters would be left without them."""
        self._gone = self._lowest({n: s.masked_fill(self._gone[n], -torch.inf) for n, s in scores.items()}, share)

    def left(self, alive: ByGroup) -> torch.Tensor:
        """The share of the parameters that is left if of every unit so much is, from 0 to 1."""
        gone = (((1 - alive[name]) * size.to(alive[name].device)).sum() for name, size in self.sizes.items())
        return 1 - torch.stack([*gone]).sum() / self._whole

    def gate(self, gate: Callable[[str, bool], torch.Tensor]) -> list[RemovableHandle]:
        """Multiply what the units hand on, at each pass, by a value for each, (units,), until the handles are removed.

        `gate` is asked by the name of a group, and whether the model is in training.
        """

        def gated(name: str, span: int) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
            def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
                values = gate(name, module.training).repeat_interleave(span)
                return inputs[0] * values.to(inputs[0]), *inputs[1:]

            return hook

        return [
            self._model.get_submodule(part.parameter.rpartition(".")[0]).register_forward_pre_hook(
                gated(name, part.span)
            )
            for name, group in self._groups.items()
            for part in group.reads
        ]

    @torch.no_grad()
    def fold(self, values: ByGroup) -> None:
        """Multiply the weights that read the units instead, once and for all."""
        for name, group in self._groups.items():
            for part in group.reads:
                weight = self._model.get_parameter(part.parameter)
                weight.mul_(values[name].repeat_interleave(part.span).to(weight))

    def _none(self) -> dict[str, torch.Tensor]:
        return {name: torch.zeros(group.count, dtype=torch.bool) for name, group in self._groups.items()}

    def _lowest(self, scores: ByGroup, share: float) -> dict[str, torch.Tensor]:
        """Which units go so that what is left comes nearest to this share."""
        by_group: dict[Group, torch.Tensor] = {group: scores[name] for name, group in self._groups.items()}
        removals = in_order(by_group, self._allocation)
        lost = [0.0, *accumulate(float(self.sizes[r.group.name][list(r.units)].sum()) for r in removals)]
        count = min(range(len(lost)), key=lambda n: abs(1 - lost[n] / self._whole - share))
        gone = self._none()
        for removal in removals[:count]:
            gone[removal.group.name][list(removal.units)] = True
        return gone

    def _share_without(self, gone: ByGroup) -> float:
        return float(self.left({name: (~of_group).double() for name, of_group in gone.items()}))

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, group in self._groups.items():
            units = self._gone[name].nonzero()[:, 0]
            for part in group.slices:
                weight = self._model.get_parameter(part.parameter)
                weight.index_fill_(part.dim, part.indices(units, group.count).to(weight.device), 0)

    def state(self) -> ByGroup:
        return {f"gone.{name}": gone for name, gone in self._gone.items()}

    def restore(self, state: ByGroup) -> None:
        self._gone = {name: state[f"gone.{name}"] for name in self._groups}

    def check(self) -> None:
        """Raise `RuntimeError` if a unit that is gone is not zero, or more or fewer are left than the budget says."""
        named = self._model.named_parameters(remove_duplicate=False)
        sizes = self.sums({name: parameter.detach().abs() for name, parameter in named})
        if any(size[self._gone[name]].any() for name, size in sizes.items()):
            raise RuntimeError("units that are gone came back to life")
        if abs(self._share_without(self._gone) / self._share - 1) > TOLERANCE:
            raise RuntimeError(
                f"{self._share_without(self._gone):.1%} of the parameters are left, and not {self._share:.1%}"
            )

    def finish(self) -> Donut:
        cut(self._model, {group: (~self._gone[name]).nonzero()[:, 0].tolist() for name, group in self._groups.items()})
        return self._model
