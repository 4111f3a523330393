"""2:4: every group of four, and the format of the hardware that it is made for."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

from benchmark import Magnitude, References
from benchmark.models.parameters import prunable
from benchmark.scales import TINY
from donutbench_strategies.two_four import ALONE, SemiStructured
from donutbench_strategies.wanda import Wanda


@dataclass(frozen=True)
class Layers:
    """References to a model of a few layers, of which some have no groups of four."""

    model: nn.Module

    def load(self, name: str) -> Any:
        return deepcopy(self.model)

    def calibration(self, count: int, draw: int = 0) -> Any:
        raise AssertionError("magnitude looks at no data")

    def tokens(self, count: int) -> Any:
        raise AssertionError("magnitude looks at no text")


@pytest.mark.parametrize("score", [Magnitude(), Wanda(2)])
def test_of_every_four_the_best_two_stay(score: Any, references: References) -> None:
    """Of all six ways to keep two, the one of the highest scores together."""
    teacher = references.load("teacher")
    scores = score(teacher, references, 0)
    model = SemiStructured(score)(references, TINY, 0)
    for name, weight in prunable(teacher).items():
        assert weight[0].numel() % 4 == 0
        groups = scores[name].reshape(-1, 4).double()
        pairs = torch.tensor(list(combinations(range(4), 2)))
        best = groups[:, pairs].sum(-1).amax(1)
        after = model.get_parameter(name)
        keep = (after != 0).reshape(-1, 4)
        assert (keep.sum(1) == 2).all()
        torch.testing.assert_close(torch.where(keep, groups, 0).sum(1), best)  # of equal ones either
        assert int((after == 0).sum()) * 2 == after.numel()


def test_the_groups_run_along_the_inputs() -> None:
    layer = nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2, 3, -4, 8, 7, 6, 5], [4.0, 3, -2, 1, 1, -9, 0.5, 9]]))
    model = SemiStructured(Magnitude())(Layers(nn.Sequential(layer)), TINY, 0)
    assert model.get_parameter("0.weight").tolist() == [[0, 0, 3, -4, 8, 7, 0, 0], [4, 3, 0, 0, 0, -9, 0, 9]]


def test_layers_without_groups_of_four_stay_dense() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Conv2d(1, 3, 3), nn.Linear(6, 4), nn.Linear(4, 6), nn.Linear(12, 1))
    model = SemiStructured(Magnitude())(Layers(layers), TINY, 0)
    assert [int((weight == 0).sum()) for weight in prunable(model).values()] == [6, 0, 0, 12, 6]


def test_torch_packs_it_for_the_hardware_and_back(references: References) -> None:
    """Values and places of two in four, as cutlass reads them; any other matrix comes back changed."""
    formats = pytest.importorskip("torch.sparse._semi_structured_conversions")
    teacher, model = references.load("teacher"), ALONE.start(references, TINY, 0)
    tried = 0
    for name, weight in prunable(model).items():
        matrix, dense = (of.detach().flatten(1).to(torch.bfloat16) for of in (weight, teacher.get_parameter(name)))
        if matrix.shape[0] % 64 == 0 and matrix.shape[1] % 32 == 0:
            back, never = (
                formats.sparse_semi_structured_to_dense_cutlass(*formats.sparse_semi_structured_from_dense_cutlass(m))
                for m in (matrix, dense)
            )
            assert torch.equal(back, matrix)
            assert not torch.equal(never, dense)
            tried += 1
    assert tried > 5


def test_it_says_what_it_is() -> None:
    assert str(ALONE.start) == "teacher, magnitude-pruned to 2 of every 4"
