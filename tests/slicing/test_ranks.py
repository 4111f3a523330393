"""The ranks that a budget leaves, and the start that factors by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from benchmark import UserError, factored, prunable
from benchmark.models.donut import Donut
from benchmark.models.factored import linear_layers
from benchmark.scales import TINY
from benchmark.slicing.ranks import ranks_to
from benchmark.types import Calibration, References
from tests.slicing.conftest import TEACHER, made
from tests.slicing.test_budget import parameters
from tests.slicing.test_sliced import Teacher


@dataclass(frozen=True)
class Ones:
    """Products of ones, which are of the right shapes."""

    wide: int = 0

    def __call__(self, model: Any, references: References, ranks: Mapping[str, int]) -> Any:
        shapes = {name: prunable(model)[name].shape for name in ranks}
        return {
            name: (torch.ones(r, shapes[name][1] + self.wide), torch.ones(shapes[name][0], r))
            for name, r in ranks.items()
        }


@pytest.mark.parametrize("share", [0.9, 0.75, 0.5, 0.3, 0.15, 1 / 4])
def test_a_budget_is_met_within_two_percent(share: float, model: Donut, calibration: Calibration) -> None:
    before = parameters(model)
    factored(Ones(), ratio=share)(Teacher(model, calibration), TINY, 0)
    left = parameters(model) / before
    print(f"{share:.0%}: {left:.2%}")
    assert left == pytest.approx(share, rel=0.02)


def test_a_ratio_above_one_is_how_many_times_smaller(plain: Donut, calibration: Calibration) -> None:
    before = parameters(plain)
    factored(Ones(), ratio=2)(Teacher(plain, calibration), TINY, 0)
    assert parameters(plain) == pytest.approx(before / 2, rel=0.02)


@pytest.mark.parametrize("share", [0.75, 0.4])
def test_every_layer_keeps_the_same_share(share: float, model: Donut) -> None:
    """But for half a rank."""
    sides = {f"{name}.weight": layer.weight.shape for name, layer in linear_layers(model).items()}
    found = ranks_to(model, share)
    exact = {name: m * n / (m + n) for name, (m, n) in sides.items() if name in found}
    least = max((found[name] - 0.5) / whole for name, whole in exact.items() if found[name] > 1)
    most = min((found[name] + 0.5) / whole for name, whole in exact.items())
    assert least <= most, "no one share has these ranks when it is rounded"
    assert len({round(whole) for whole in exact.values()}) > 3


def test_a_layer_that_no_product_makes_smaller_stays() -> None:
    """An adapter with one feature between; of others a rank that saves nothing is rounded away."""
    model = made(replace(TEACHER, bottleneck=1))
    sides = {f"{name}.weight": layer.weight.shape for name, layer in linear_layers(model).items()}
    for share in (0.5, 0.995):
        found = ranks_to(model, share)
        stay = sides.keys() - found.keys()
        assert stay >= {"encoder.bridge.adapter.down.weight", "encoder.bridge.adapter.up.weight"}
        assert (len(stay) == 2) is (share == 0.5)
        for name, rank in found.items():
            assert rank * sum(sides[name]) < sides[name].numel()


def test_less_of_a_budget_is_a_lower_rank(plain: Donut) -> None:
    more, less = ranks_to(plain, 0.6), ranks_to(plain, 0.4)
    assert all(less[name] <= rank for name, rank in more.items())
    assert all(less[name] < rank for name, rank in more.items() if rank > 10)


def test_a_budget_that_cannot_be_met_is_told(plain: Donut, calibration: Calibration) -> None:
    told = r"^factoring linear layers: \d+\.\d% of the parameters stay at least, which is more than 1\.0%$"
    with pytest.raises(UserError, match=told):
        factored(Ones(), 0.01)(Teacher(plain, calibration), TINY, 0)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -2.0, float("nan"), "x"])
def test_a_ratio_that_leaves_nothing_or_all_is_refused(ratio: Any) -> None:
    with pytest.raises(UserError, match="is neither a share below 1 that stays nor a factor above 1"):
        factored(Ones(), ratio)


def test_what_is_no_factorization_is_told() -> None:
    with pytest.raises(UserError, match=r"^factorization 'svd' cannot be called"):
        factored("svd", 0.5)  # type: ignore[arg-type]


def test_factors_of_another_shape_are_told(plain: Donut, calibration: Calibration) -> None:
    with pytest.raises(ValueError, match=r"\.weight is no product of \[\d+, \d+\] x \[\d+, \d+\]: it has the shape"):
        factored(Ones(wide=1), 0.5)(Teacher(plain, calibration), TINY, 0)
