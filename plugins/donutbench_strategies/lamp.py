"""LAMP: a weight counts by its share of what its layer has left when it goes (Lee et al. 2021, section 2).

w^2 over the sum of the squares of all weights of its layer that are not smaller, compared over all layers. So the
largest weight of every layer scores 1, no layer is emptied before another, and the order within a layer is that of
magnitude: pruning by it takes, one weight after the other, the one that distorts what is left of its layer the least.
It needs no data and nothing to tune.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import FeatureDistillation, FixedMask, References, Strategy, hookimpl, pruned

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Lamp:
    """The square of a weight over those of all weights of its layer that are not smaller."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        from benchmark import prunable

        return {name: _shares(weight.detach()) for name, weight in prunable(model).items()}

    def __str__(self) -> str:
        return "LAMP"


def _shares(weight: torch.Tensor) -> torch.Tensor:
    """The scores of one layer, in its shape; of weights of one size those that come later count as the larger."""
    import torch

    # In float64, where the sum of a layer still tells its smallest weights apart.
    squares, order = weight.flatten().double().square().sort(stable=True)
    rest = squares.flip(0).cumsum(0).flip(0)
    shares = torch.where(squares > 0, squares / rest, 0.0)
    return torch.empty_like(shares).scatter(0, order, shares).view_as(weight)


ALONE = Strategy(
    name="lamp",
    summary="magnitude pruning with layer-adaptive scores, nothing trained",
    start=pruned(Lamp()),
    paper="Lee et al. 2021, section 2",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="lamp-distill",
        summary="magnitude pruning with layer-adaptive scores, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
