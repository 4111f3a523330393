"""LAMP: the scores of layers, and the pruning that takes the least distorting weight each time."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import References
from benchmark.models.pruning import prune_globally
from donutbench_strategies.lamp import Lamp


def layers(seed: int) -> nn.Module:
    """Three layers of very different size and scale."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Linear(6, 5), nn.Linear(5, 2))
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(100)
        model.get_parameter("2.weight").copy_(torch.randn(2, 5).exp())
    return model


def scored(model: nn.Module) -> dict[str, torch.Tensor]:
    return Lamp()(cast(Any, model), cast(References, None), 0)


def least_distorting(matrices: dict[str, np.ndarray[Any, Any]], count: int) -> list[tuple[str, int]]:
    """One after the other: the weight whose loss is the smallest share of what its layer has left, squared."""
    left = {name: matrix.astype(np.float64).ravel().copy() for name, matrix in matrices.items()}
    taken: list[tuple[str, int]] = []
    for _ in range(count):
        ways = []
        for name, weights in left.items():
            for place in np.flatnonzero(weights):
                without = weights.copy()
                without[place] = 0
                ways.append((float(np.square(weights - without).sum() / np.square(weights).sum()), name, int(place)))
        _, layer, lost = min(ways)
        left[layer][lost] = 0
        taken.append((layer, lost))
    return taken


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])  # beyond, the last of a layer go, which all score 1
def test_it_takes_what_distorts_its_layer_least_each_time(seed: int, share: float) -> None:
    model = layers(seed)
    matrices = {f"{i}.weight": model.get_parameter(f"{i}.weight").detach().numpy().copy() for i in range(3)}
    total = sum(p.numel() for p in model.parameters())
    prune_globally(model, scored(model), share)
    after = {name: model.get_parameter(name).detach() for name in matrices}
    gone = {(name, int(place)) for name, weight in after.items() for place in np.flatnonzero(weight == 0)}
    assert gone == set(least_distorting(matrices, round(share * total)))


def test_the_largest_of_every_layer_scores_one_and_the_rest_less(references: References) -> None:
    teacher = references.load("teacher")
    for name, score in Lamp()(teacher, references, 0).items():
        weight = teacher.get_parameter(name).detach().abs().flatten()
        flat = score.flatten()
        assert float(flat.max()) == 1
        assert weight[flat.argmax()] == weight.max()
        assert int((flat == 1).sum()) == 1
        ordered = flat[weight.argsort(stable=True)]
        assert (ordered[1:] > ordered[:-1]).all()


def test_equal_weights_and_zeros() -> None:
    """Of one size, one after the other; what is zero already goes first, a layer of nothing else too."""
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(2, 1))
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.tensor([[0.0, -3.0, 3.0, 0.0]]))
        model.get_parameter("1.weight").zero_()
    scores = scored(model)
    assert scores["0.weight"].tolist() == [[0, 0.5, 1, 0]]
    assert scores["1.weight"].tolist() == [[0, 0]]


def test_the_scale_of_a_layer_does_not_matter() -> None:
    first, second = layers(0), layers(0)
    with torch.no_grad():
        second.get_parameter("1.weight").mul_(2.0**-20)
    assert all(torch.equal(a, b) for a, b in zip(scored(first).values(), scored(second).values(), strict=True))
