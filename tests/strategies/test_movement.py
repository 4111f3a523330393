"""Scores that are learnt straight through their mask, against three steps by hand in numpy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import Cubic, CubicMask, Span
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from donutbench_strategies import movement
from donutbench_strategies.movement import Movement, Moving
from tests.strategies.steps import Walk, broken_off, same, size, weights, zeros

(STRATEGY,) = movement.donutbench_register_strategies()
RAMP = Cubic(begin=0.25, end=0.75, times=3)
SPAN = Span(False, 12)
RATE = 0.1
INPUTS = np.array([[1.0, -2.0, 0.5], [0.3, 1.0, -1.0]])
TARGETS = np.array([[1.0, 0.0], [-0.5, 2.0]])
WEIGHTS = np.array([[0.4, -0.3, 0.8], [0.1, 0.6, -0.2]])


def by_hand(steps: int, counts: list[int], initial: float) -> tuple[np.ndarray[Any, Any], ...]:
    """Dense weights, scores and mask after gradient descent on 1/2 sum (x W'^T - y)^2, so many masked after a step."""
    dense, scores, mask = WEIGHTS.copy(), initial * WEIGHTS**2 / 2, np.ones((2, 3))
    for step in range(steps):
        through = (INPUTS @ (dense * mask).T - TARGETS).T @ INPUTS  # dL/dW'
        scores -= through * dense  # dL/dS
        dense = dense - RATE * through * mask  # dL/dW
        mask = np.ones((2, 3))
        mask.flat[np.argsort(scores.ravel())[: counts[step]]] = 0
    return dense, scores, mask


@pytest.mark.parametrize("initial", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_three_steps_are_those_by_hand(steps: int, initial: float) -> None:
    """Half of the weights go in three steps: 1 - (2/3)^3, 1 - (1/3)^3 and all of it."""
    model = nn.Linear(3, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(WEIGHTS))
    mask = CubicMask("0.5", schedule=Cubic(end=1.0, times=3), returns=True)
    attached = Movement(mask, initial).attach(cast(Any, model), Span(False, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        output = model(torch.from_numpy(INPUTS))
        torch.autograd.backward((output - torch.from_numpy(TARGETS)).square().sum() / 2)
        attached.before_step(step)
        optimizer.step()
        attached.after_step(step)
    dense, scores, kept = by_hand(steps, [round(0.5 * 6 * (1 - (1 - step / 3) ** 3)) for step in (1, 2, 3)], initial)
    state = attached.state()
    np.testing.assert_allclose(state["dense.weight"].numpy(), dense, rtol=1e-12)
    np.testing.assert_allclose(state["score.weight"].numpy(), scores, rtol=1e-12)
    np.testing.assert_array_equal(state["keep.weight"].numpy(), kept == 1)
    np.testing.assert_allclose(model.weight.detach().numpy(), dense * kept, rtol=1e-12)


def moving(model: Donut, mask: CubicMask) -> Moving:
    return Movement(mask).attach(model, SPAN)


def test_at_the_first_turn_it_is_magnitude_but_for_one_step(model: Donut) -> None:
    """Scores begin at half a square, and a gradient of zero adds nothing."""
    before = torch.cat([weight.abs().flatten() for weight in prunable(model).values()]).detach()
    attached = moving(model, CubicMask("half", schedule=Cubic(end=0.05, times=1), returns=True))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    attached.before_step(1)
    attached.after_step(1)
    gone = torch.cat([(weight == 0).flatten() for weight in prunable(model).values()])
    assert before[gone].max() <= before[~gone].min()
    attached.check()


def test_what_moves_to_zero_goes_and_what_grows_stays_whatever_its_size(model: Donut) -> None:
    """Gradients that have the sign of a weight shrink it, and its score."""
    attached = moving(model, CubicMask("0.3", schedule=RAMP, returns=True))
    generator = torch.Generator().manual_seed(0)
    shrinks = {name: torch.rand(w.shape, generator=generator) < 0.31 for name, w in prunable(model).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    for step in range(1, 13):
        for name, weight in prunable(model).items():
            dense = attached.state()[f"dense.{name}"]
            weight.grad = dense.sign() * torch.where(shrinks[name], 1.0, -1.0)
        attached.before_step(step)
        optimizer.step()
        attached.after_step(step)
    attached.check()
    assert zeros(model) == round(0.3 * size(model))
    assert all(shrinks[name][weight == 0].all() for name, weight in prunable(model).items())


def test_the_mask_is_all_there_in_the_warm_up_and_fixed_in_the_end(model: Donut) -> None:
    mask = CubicMask(schedule=Cubic(begin=0.2, end=0.6), allocation="uniform", returns=True)
    attached = Movement(mask).attach(model, Span(False, 20))
    walk = Walk(model, attached)
    masks = []
    for step in range(1, 21):
        walk.go(step, step)
        masks.append({name: weight == 0 for name, weight in prunable(model).items()})
    assert not any(mask.any() for mask in masks[3].values())
    assert all(mask.any() for mask in masks[4].values())
    assert any((masks[4][name] & ~masks[11][name]).any() for name in masks[4])  # they returned
    assert zeros(model) == round((1 - 37 / 141) * size(model))
    for step in range(12, 20):
        assert same(masks[step], masks[11])
    share = zeros(model) / sum(weight.numel() for weight in prunable(model).values())
    assert all(abs(int(mask.sum()) - share * mask.numel()) <= 4 for mask in masks[11].values())
    attached.check()


@pytest.mark.parametrize("at", [2, 8])
def test_a_broken_off_training_is_the_unbroken_one(at: int, model: Donut) -> None:
    mask = CubicMask(schedule=RAMP, returns=True)
    equal, kept = broken_off(model, lambda m: moving(cast(Donut, m), mask), 12, at)
    assert equal
    assert kept == 3 * len(prunable(model))


def test_masked_weights_keep_their_values(model: Donut) -> None:
    attached = moving(model, CubicMask(schedule=RAMP, returns=True))
    walk = Walk(model, attached, rate=0.01)
    walk.go(1, 9)
    before = {name: value.clone() for name, value in attached.state().items() if name.startswith("dense.")}
    walk.go(10, 12)
    after = attached.state()
    for name, weight in prunable(model).items():
        gone = weight == 0
        assert torch.equal(after[f"dense.{name}"][gone], before[f"dense.{name}"][gone])
        assert torch.equal(after[f"dense.{name}"][~gone], weight[~gone])
        assert (after[f"dense.{name}"] != 0).all()


def test_a_weight_that_comes_back_against_the_mask_is_told(model: Donut) -> None:
    attached = moving(model, CubicMask(schedule=RAMP, returns=True))
    Walk(model, attached).go(1, 12)
    with torch.no_grad():
        model.decoder.model.decoder.layers[0].fc1.weight.fill_(1.0)
    with pytest.raises(RuntimeError, match="pruned weights came back to life"):
        attached.check()


def test_the_row_says_what_it_is(model: Donut) -> None:
    assert (STRATEGY.name, STRATEGY.protocols) == ("movement", ("task",))
    assert str(STRATEGY.constraint) == "mask by movement that grows to 73.8% from 0% to 50% of the training"
    before = weights(model)
    assert STRATEGY.constraint is not None
    STRATEGY.constraint.attach(model, SPAN)
    assert same(weights(model), before)
