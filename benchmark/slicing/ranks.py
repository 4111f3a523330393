"""How far ranks go down: the same for every layer, until what is left fits a budget."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import torch

from benchmark.models.donut import Donut
from benchmark.models.factored import linear_layers, put_factors
from benchmark.models.parameters import non_embeddings
from benchmark.models.shapes import record_shapes
from benchmark.slicing.budget import TOLERANCE

Ranks = dict[str, int]
"""By the name of the weight."""
_STEPS = 100_000


def ranks_to(model: Donut, share: float) -> Ranks:
    """Ranks of linear layers with which `share` of the parameters that are no embeddings is left.

    Each layer of m outputs and n inputs keeps the same share of its weights: its rank is that x m n / (m + n), rounded.
    One in which a product saves nothing stays, and has none. `ValueError` if nothing comes within `TOLERANCE`.
    """
    shapes = {f"{name}.weight": tuple(layer.weight.shape) for name, layer in linear_layers(model).items()}
    whole = sum(parameter.numel() for parameter in non_embeddings(model).values())

    def left(ranks: Ranks) -> float:
        return 1 - sum(m * n - rank * (m + n) for (m, n), rank in ((shapes[w], r) for w, r in ranks.items())) / whole

    def at(step: int) -> Ranks:
        return _ranks(shapes, step / _STEPS)

    if (least := left(at(0))) > share * (1 + TOLERANCE):
        raise ValueError(f"{least:.1%} of the parameters stay at least, which is more than {share:.1%}")
    # What is left grows with what every layer keeps, by a rank of all that have the same shape at a time.
    step = bisect_left(range(_STEPS), True, key=lambda step: left(at(step)) >= share)
    found = min((at(step), at(max(step - 1, 0))), key=lambda ranks: abs(left(ranks) - share))
    if abs(left(found) / share - 1) > TOLERANCE:
        raise ValueError(f"the nearest to {share:.1%} of the parameters that can be left is {left(found):.1%}")
    return found


def _ranks(shapes: Mapping[str, tuple[int, ...]], share: float) -> Ranks:
    """Those with which each keeps this share of its weights, at least one."""
    found = {name: max(1, round(share * m * n / (m + n))) for name, (m, n) in shapes.items()}
    return {name: rank for name, rank in found.items() if rank * sum(shapes[name]) < shapes[name][0] * shapes[name][1]}


@torch.no_grad()
def factor(model: Donut, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Put products in the place of weights of linear layers, by name, in place; the config of the model says so.

    Of each `down` is (rank, inputs) and `up` (outputs, rank). `ValueError` if their product has another shape.
    """
    for name, (down, up) in factors.items():
        weight = model.get_parameter(name)
        if up.shape[1:] != down.shape[:1] or (*up.shape[:1], *down.shape[1:]) != weight.shape:
            shapes = " x ".join(str([*part.shape]) for part in (up, down))
            raise ValueError(f"{name} is no product of {shapes}: it has the shape {[*weight.shape]}")
        # Rows in memory one after the other, as in a file: what an SVD returns may lie there by columns.
        parts = (part.to(weight).clone(memory_format=torch.contiguous_format) for part in (down, up))
        put_factors(model, name.removesuffix(".weight"), *parts)
    record_shapes(model)
