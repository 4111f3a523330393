"""What steps: Muon where a tiny model is to learn in minutes, Adam as Donut and the paper have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmark.scales import OptimizerName
from benchmark.training.muon import WEIGHT_DECAY, MuonWithAdam


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How a record names it, how it is made of a model and a peak learning rate, and its share of warm-up."""

    title: str
    make: Callable[[nn.Module, float], torch.optim.Optimizer]
    warmup: float


def _adam(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=learning_rate)


OPTIMIZERS: dict[OptimizerName, Optimizer] = {
    "muon": Optimizer(f"Muon (weight decay {WEIGHT_DECAY:g}) and Adam", MuonWithAdam, warmup=0.05),
    # clovaai/donut, config/train_cord.yaml: 300 of 3,000 steps, then a cosine; DONUT-hole, section 4, follows it.
    "adam": Optimizer("Adam", _adam, warmup=0.1),
}
