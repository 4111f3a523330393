"""What is masked keeps its value and may come back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn

from benchmark import Cubic, CubicMask, LogitDistillation, Span
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from donutbench_strategies import prune_once
from tests.strategies.steps import Walk, size, weights, zeros

(STRATEGY,) = prune_once.donutbench_register_strategies()


def test_a_masked_weight_returns_with_its_value_when_another_has_become_smaller() -> None:
    """Two of four weights go; those of 0.1 and 0.2, until 0.4 has been brought to 0.05. By hand."""
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
    constraint = CubicMask("0.5", schedule=Cubic(end=0.25, last=1.0, times=1), returns=True)
    attached = constraint.attach(cast(Any, model), Span(False, 4))
    found = []
    for step, moved in enumerate(([0.1, 0.2, 0.3, 0.4], [9, 9, 0.3, 0.05], [9, 9, 0.3, 0.05], [9, 9, 0.3, 0.05]), 1):
        model.weight.grad = torch.ones(1, 4)
        attached.before_step(step)
        with torch.no_grad():  # masked weights are moved too, as momentum does
            model.weight.copy_(torch.tensor([moved]))
        attached.after_step(step)
        found.append([round(value, 6) for value in model.weight.tolist()[0]])
    # After step 1: the mask. Step 2: 0.05 is the smallest, 0.2 is larger than it and back.
    assert found[:2] == [[0, 0, 0.3, 0.4], [0, 0.2, 0.3, 0]]
    # Steps 3 and 4 move the weight that is back, and not the one that is masked now.
    assert found[2] == [0, 9, 0.3, 0]
    attached.check()


def test_the_row_moves_its_mask_until_80_percent_and_meets_the_share(model: Donut) -> None:
    assert STRATEGY.constraint is not None
    attached = STRATEGY.constraint.attach(model, Span(False, 20))
    walk = Walk(model, attached, rate=0.05)
    masks: list[dict[str, torch.Tensor]] = []
    for step in range(1, 21):
        walk.go(step, step)
        masks.append({name: weight == 0 for name, weight in prunable(model).items()})
    assert zeros(model) == round((1 - 37 / 141) * size(model))
    changed = [any(not torch.equal(a[n], b[n]) for n in a) for a, b in pairwise(masks)]
    assert changed == [True] * 15 + [False] * 4
    returned = [sum(int((a[n] & ~b[n]).sum()) for n in a) for a, b in pairwise(masks)]
    assert all(returned[10:15])  # the share is met: as many go
    attached.check()


def test_nothing_but_the_pruned_is_zero_or_frozen(model: Donut) -> None:
    assert STRATEGY.constraint is not None
    before = weights(model)
    Walk(model, STRATEGY.constraint.attach(model, Span(False, 4))).go(1, 4)
    after = weights(model)
    names = prunable(model)
    assert all((after[name] != 0).all() for name in after if name not in names)
    assert all((after[name] != before[name])[after[name] != 0].any() for name in names)


def test_the_objective_is_half_and_half_at_temperature_2_without_features() -> None:
    assert LogitDistillation(temperature=2.0, alpha=0.5) == STRATEGY.objective
    assert STRATEGY.objective.teaching == "logits"
