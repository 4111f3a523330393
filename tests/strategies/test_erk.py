"""ERK: what stays of each matrix, by another way to find the factor."""

from __future__ import annotations

import pytest
from scipy.optimize import brentq

from benchmark import References
from benchmark.models.parameters import non_embeddings, prunable
from benchmark.parts.starts import Magnitude, Pruned
from benchmark.scales import TINY
from donutbench_strategies.erk import ALONE


@pytest.mark.parametrize("target", ["0.2", "half", "paper-table", "0.95"])
def test_what_stays_is_in_proportion_to_the_sum_of_the_sides(target: str, references: References) -> None:
    start = ALONE.start
    assert isinstance(start, Pruned)
    assert start == Pruned(Magnitude(), allocation="erk")
    teacher, model = references.load("teacher"), Pruned(start.score, target, allocation="erk")(references, TINY, 0)
    shapes = {name: weight.shape for name, weight in prunable(teacher).items()}
    size = sum(shape.numel() for shape in shapes.values())
    total = sum(weight.numel() for weight in non_embeddings(teacher).values())
    kept = size - round(Pruned(start.score, target).sparsity * total)

    def stays(factor: float) -> float:
        return sum(min(shape.numel(), factor * sum(shape)) for shape in shapes.values())

    factor = brentq(lambda f: stays(f) - kept, 0, size)
    for name, shape in shapes.items():
        before, after = teacher.get_parameter(name).abs(), model.get_parameter(name)
        assert int((after != 0).sum()) == pytest.approx(min(shape.numel(), factor * sum(shape)), rel=1e-3, abs=3)
        if (after == 0).any():
            assert before[after == 0].max() <= before[after != 0].min()
