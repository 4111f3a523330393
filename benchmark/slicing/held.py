"""Units that are held at zero while their model trains, and cut out of it in the end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from transformers import VisionEncoderDecoderModel

from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.parameters import non_embeddings
from benchmark.slicing.budget import TOLERANCE, in_order
from benchmark.slicing.donut import groups
from benchmark.slicing.groups import Group, cut
from benchmark.types import Attached

ByGroup = Mapping[str, torch.Tensor]
"""A value for each unit, (units,), of each group, by its name."""


class UnitMask(Attached):
    """FFN units and heads of which a part is held at zero: these do nothing then, so cutting them changes nothing.

    Every group loses the same share of its units; what is gone stays gone. Channels are no such units: at zero they
    still count in the norms.
    """

    def __init__(self, model: VisionEncoderDecoderModel, share: float) -> None:
        """In the end `share` of the parameters that are no embeddings is left.

        Raises `UserError` if nothing comes near enough.
        """
        assert isinstance(model, Donut)
        self._model = model
        self._share = share
        self._groups = {group.name: group for group in groups(model) if group.kind in ("ffn", "heads")}
        self._whole = sum(parameter.numel() for parameter in non_embeddings(model).values())
        named = model.named_parameters(remove_duplicate=False)
        self._sizes = self.sums({name: torch.ones(()).expand(parameter.shape) for name, parameter in named})
        self._gone = self._none()
        nearest = self._left(self._lowest(self.sums({}), share))
        if abs(nearest / share - 1) > TOLERANCE:
            raise UserError(f"the nearest to {share:.1%} of the parameters that can be left is {nearest:.1%}")

    def sums(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """For each unit the sum of `values` (by parameter, of its shape) over its weights."""
        return {name: group.sums(values) for name, group in self._groups.items()}

    def shrink(self, scores: ByGroup, share: float) -> None:
        """Let the units of the lowest scores go until about `share` of the parameters would be left without them."""
        self._gone = self._lowest({n: s.masked_fill(self._gone[n], -torch.inf) for n, s in scores.items()}, share)

    def _none(self) -> dict[str, torch.Tensor]:
        return {name: torch.zeros(group.count, dtype=torch.bool) for name, group in self._groups.items()}

    def _lowest(self, scores: ByGroup, share: float) -> dict[str, torch.Tensor]:
        """Which units go so that what is left comes nearest to this share."""
        by_group: dict[Group, torch.Tensor] = {group: scores[name] for name, group in self._groups.items()}
        removals = in_order(by_group, "uniform")
        lost = [0.0, *accumulate(float(self._sizes[r.group.name][list(r.units)].sum()) for r in removals)]
        count = min(range(len(lost)), key=lambda n: abs(1 - lost[n] / self._whole - share))
        gone = self._none()
        for removal in removals[:count]:
            gone[removal.group.name][list(removal.units)] = True
        return gone

    def _left(self, gone: ByGroup) -> float:
        return 1 - sum(float(size[gone[name]].sum()) for name, size in self._sizes.items()) / self._whole

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
        if abs(self._left(self._gone) / self._share - 1) > TOLERANCE:
            raise RuntimeError(f"{self._left(self._gone):.1%} of the parameters are left, and not {self._share:.1%}")

    def finish(self) -> Donut:
        cut(self._model, {group: (~self._gone[name]).nonzero()[:, 0].tolist() for name, group in self._groups.items()})
        return self._model
