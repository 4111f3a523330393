"""When weights go on a cubic schedule, which, and that nothing else does."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmark import Cubic, CubicMask, References, Span, UserError
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.types import Allocation
from donutbench_strategies import gradual
from tests.strategies.steps import Walk, broken_off, same, size, weights, zeros

STEPS = 12
SPAN = Span(upstream=False, steps=STEPS)
RAMP = Cubic(begin=0.25, end=0.75, times=3)
(STRATEGY,) = gradual.donutbench_register_strategies()
TABLE = 1 - 37 / 141


class TestCubic:
    def test_it_is_the_formula_at_even_distances(self) -> None:
        schedule = Cubic(begin=0.1, end=0.6, times=10)
        found = {step: share for step in range(1, 101) if (share := schedule.due(step, 100)) is not None}
        assert list(found) == list(range(15, 61, 5))
        for step, share in found.items():  # section 3, equation 1, for s_i = 0.2 and s_f = 0.9
            formula = 0.9 + (0.2 - 0.9) * (1 - (step - 10) / (10 * 5)) ** 3
            assert 0.2 + (0.9 - 0.2) * share == pytest.approx(formula)

    def test_beyond_the_ramp_it_acts_as_often_and_takes_no_more(self) -> None:
        schedule = Cubic(begin=0.1, end=0.6, last=0.8, times=10)
        found = {step: share for step in range(61, 101) if (share := schedule.due(step, 100)) is not None}
        assert found == {65: 1.0, 70: 1.0, 75: 1.0, 80: 1.0}

    @given(
        st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda ends: ends[0] < ends[1]),
        st.integers(1, 60),
        st.integers(1, 400),
    )
    def test_all_that_goes_is_gone_in_the_end_however_short_the_training(
        self, ends: tuple[float, float], times: int, steps: int
    ) -> None:
        schedule = Cubic(*ends, times=times)
        shares = [schedule.due(step, steps) for step in range(1, steps + 1)]
        acted = [share for share in shares if share is not None]
        assert acted == sorted(set(acted))
        assert acted[-1] == 1
        assert 1 <= len(acted) <= times
        assert all(share is None for share in shares[: min(round(ends[0] * steps), steps - 1)])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"begin": 0.5}, r"^pruning from begin=0.5 to end=0.5: 0 <= begin < end <= 1 has to hold$"),
            ({"begin": -0.1}, "begin=-0.1"),
            ({"end": 1.1}, "end=1.1"),
            ({"end": float("nan")}, "end=nan"),
            ({"last": 2}, r"^last=2 is no share of a training$"),
            ({"times": 0}, r"^pruning acts at least once, not 0 times$"),
        ],
    )
    def test_what_is_no_ramp_is_refused(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(UserError, match=message):
            Cubic(**options)  # type: ignore[arg-type]


class TestCubicMask:
    def test_at_each_turn_the_smallest_that_are_left_go_and_stay_gone(self, model: Donut) -> None:
        """Against the definition, by sorting; the optimizer's momentum is older than each mask."""
        attached = CubicMask(schedule=RAMP).attach(model, SPAN)
        walk, whole = Walk(model, attached), size(model)
        seen: list[int] = []
        gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
        moved: dict[str, torch.Tensor] = {}
        for step in range(1, STEPS + 1):
            walk.go(step, step, lambda _: moved.update(weights(model)))
            now = {name: weight == 0 for name, weight in prunable(model).items()}
            assert all((now[name] | ~gone[name]).all() for name in now)
            new = torch.cat([moved[name][now[name] & ~gone[name]].abs() for name in now])
            left = torch.cat([moved[name][~now[name]].abs() for name in now])
            if len(new):
                assert new.max() <= left.min()
            assert torch.equal(left, torch.cat([w[w != 0].abs() for w in prunable(model).values()]))
            gone = now
            seen.append(zeros(model))
        shares = [0, 0, 0, 0, *[1 - (2 / 3) ** 3] * 2, *[1 - (1 / 3) ** 3] * 2, 1, 1, 1, 1]
        assert seen == [round(TABLE * share * whole) for share in shares]
        attached.check()

    @pytest.mark.parametrize("allocation", ["uniform", "erk"])
    def test_within_matrices_too_what_is_gone_stays_gone(self, allocation: Allocation, model: Donut) -> None:
        attached = CubicMask("half", schedule=RAMP, allocation=allocation).attach(model, SPAN)
        walk = Walk(model, attached)
        gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
        for step in (6, 8, STEPS):
            walk.go({6: 1, 8: 7}.get(step, 9), step)
            now = {name: weight == 0 for name, weight in prunable(model).items()}
            assert all((now[name] | ~gone[name]).all() for name in now)
            gone = now
        assert zeros(model) == round(0.5 * size(model))
        shares = [float(mask.double().mean()) for mask in gone.values()]
        assert (max(shares) - min(shares) < 0.002) is (allocation == "uniform")
        attached.check()

    def test_a_model_that_is_sparse_enough_keeps_its_pattern(self, model: Donut) -> None:
        """So a mask that grew upstream is locked downstream."""
        prune_globally(model, magnitudes(model), TABLE)
        before = {name: weight == 0 for name, weight in prunable(model).items()}
        attached = CubicMask(schedule=RAMP).attach(model, SPAN)
        Walk(model, attached).go(1, STEPS)
        attached.check()
        assert all(torch.equal(weight == 0, before[name]) for name, weight in prunable(model).items())

    def test_zeros_of_the_start_count(self, model: Donut) -> None:
        prune_globally(model, magnitudes(model), 0.5)
        attached = CubicMask(target="0.7", schedule=RAMP).attach(model, SPAN)
        walk, whole = Walk(model, attached), size(model)
        walk.go(1, 5)
        assert zeros(model) == pytest.approx((0.5 + 0.2 * (1 - (2 / 3) ** 3)) * whole, abs=1)
        walk.go(6, STEPS)
        assert zeros(model) == round(0.7 * whole)

    @pytest.mark.parametrize("at", [2, 8])
    @pytest.mark.parametrize("returns", [False, True])
    def test_a_broken_off_training_is_the_unbroken_one(self, at: int, returns: bool, model: Donut) -> None:
        mask = CubicMask(schedule=replace(RAMP, last=1.0), returns=returns)
        equal, kept = broken_off(model, lambda m: mask.attach(m, SPAN), STEPS, at)  # type: ignore[arg-type]
        assert equal
        assert kept == len(prunable(model)) * (2 if returns else 1)

    def test_it_is_the_same_twice(self, model: Donut) -> None:
        other = deepcopy(model)
        for one in (model, other):
            Walk(one, CubicMask(schedule=RAMP).attach(one, SPAN)).go(1, STEPS)
        assert same(weights(model), weights(other))

    def test_one_weight_that_comes_back_is_told(self, model: Donut) -> None:
        attached = CubicMask(schedule=RAMP).attach(model, SPAN)
        Walk(model, attached).go(1, STEPS)
        weight = model.decoder.model.decoder.layers[2].fc1.weight
        with torch.no_grad():
            weight.view(-1)[(weight == 0).flatten().nonzero()[0]] = 1e-30
        with pytest.raises(RuntimeError, match=r"^1 pruned weights came back to life$"):
            attached.check()

    def test_a_ramp_that_has_not_come_to_its_end_is_told(self, model: Donut) -> None:
        attached = CubicMask(schedule=RAMP).attach(model, SPAN)
        Walk(model, attached).go(1, 8)
        with pytest.raises(
            RuntimeError, match=rf"^{zeros(model)} weights are pruned, and not {round(TABLE * size(model))}$"
        ):
            attached.check()

    def test_more_than_there_is_is_refused_before_anything_is_trained(self, model: Donut) -> None:
        with pytest.raises(ValueError, match="prunable"):
            CubicMask("0.9999").attach(model, SPAN)

    def test_another_score_decides(self, model: Donut) -> None:
        """One that says that the largest go."""

        def largest(model: nn.Module, references: References, seed: int) -> dict[str, torch.Tensor]:
            return {name: -score for name, score in magnitudes(model).items()}

        biggest = max(prunable(model).items(), key=lambda item: item[1].abs().max())
        place = biggest[1].abs().argmax()
        attached = CubicMask("0.01", largest, Cubic(end=0.1, times=1)).attach(model, SPAN)
        Walk(model, attached).go(1, 1)
        assert biggest[1].flatten()[place] == 0
        assert zeros(model) == round(0.01 * size(model))

    @pytest.mark.parametrize("asks", ["documents", "teacher"])
    def test_a_score_that_looks_at_more_than_the_model_is_told(self, asks: str, model: Donut) -> None:
        @dataclass(frozen=True)
        class Asking:
            def __call__(self, model: nn.Module, references: References, seed: int) -> dict[str, torch.Tensor]:
                _ = references.calibration(32) if asks == "documents" else references.load("teacher")
                return {}

        attached = CubicMask(score=Asking(), schedule=Cubic(times=1)).attach(model, SPAN)
        with pytest.raises(UserError, match=r"^a score that .*(32 documents|'teacher').* cannot say which weights go"):
            Walk(model, attached).go(1, STEPS)

    def test_a_wrong_option_is_refused(self) -> None:
        with pytest.raises(UserError, match="sparsity target 'halv'"):
            CubicMask("halv")
        with pytest.raises(UserError, match="score 'magnitude' cannot be called"):
            CubicMask(score="magnitude")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="unknown allocation 'even'"):
            CubicMask(allocation="even")  # type: ignore[arg-type]


def test_the_row_prunes_the_share_of_the_papers_table_early(model: Donut) -> None:
    assert (STRATEGY.name, STRATEGY.protocols) == ("gradual", ("task",))
    assert str(STRATEGY.constraint) == "mask by magnitude that grows to 73.8% from 0% to 50% of the training"
    assert STRATEGY.constraint is not None
    attached = STRATEGY.constraint.attach(model, SPAN)
    walk = Walk(model, attached)
    walk.go(1, 6)
    assert zeros(model) == round(TABLE * size(model))
    walk.go(7, 7)
    attached.check()
