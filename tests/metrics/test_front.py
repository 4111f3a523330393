"""Who is on the front, how surely, and how much of the plane it covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.front import Estimate, Standing, front, hypervolume, log_normal, standings
from benchmark.metrics.paired import RESAMPLES, Bootstrap, Floats, Sample


def resampled(rows: list[Floats]) -> list[Floats]:
    return [Bootstrap(row.shape[1]).sample(row, f"row {place}").resampled for place, row in enumerate(rows)]


def exact(*costs: float) -> list[Floats]:
    return [np.full(RESAMPLES, cost) for cost in costs]


def test_what_is_worse_and_dearer_is_never_on_the_front() -> None:
    hard = np.random.default_rng(0).random((1, 50))
    good, bad, cheap = standings(resampled([hard + 0.1, hard, hard - 0.2]), exact(0.5, 1.0, 0.1))
    assert good == Standing(1.0, None, 0.0)
    assert bad == Standing(0.0, 0, 1.0)
    assert cheap == Standing(1.0, None, 0.0), "nothing is as cheap"


def test_exchangeable_rows_of_one_cost_share_the_front() -> None:
    draws = np.random.default_rng(1)
    scores = draws.normal(0, 1, (2, 1, 400))
    scores -= scores.mean(2, keepdims=True)
    first, second = standings(resampled(list(scores)), exact(1.0, 1.0))
    assert first.undominated == pytest.approx(0.5, abs=0.05)
    assert first.undominated + second.undominated == pytest.approx(1)
    assert (first.dominator, second.dominator) == (1, 0)
    assert first.dominated_by_it == pytest.approx(1 - first.undominated)


def test_equal_rows_do_not_dominate_each_other() -> None:
    same = np.random.default_rng(2).random((1, 50))
    assert standings(resampled([same, same]), exact(1.0, 1.0)) == [Standing(1.0, None, 0.0)] * 2
    cheap, dear = standings(resampled([same, same]), exact(0.9, 1.0))
    assert (cheap.undominated, dear.undominated) == (1.0, 0.0)


def test_the_order_of_a_sum_is_no_difference() -> None:
    scores = np.full(RESAMPLES, 0.1 + 0.2), np.full(RESAMPLES, 0.3)
    assert [own.undominated for own in standings(scores, exact(1.0, 1.0))] == [1.0, 1.0]


def test_the_dominator_is_the_one_that_does_it_most_often() -> None:
    half, most = np.arange(RESAMPLES) % 2 < 1, np.arange(RESAMPLES) % 4 < 3
    scores = [np.full(RESAMPLES, 0.5), np.where(half, 0.6, 0.4), np.where(most, 0.6, 0.4)]
    assert standings(scores, exact(1.0, 0.5, 0.5))[0] == Standing(0.25, 2, 0.75)


def test_a_cost_that_is_not_sure_makes_the_front_unsure() -> None:
    scores = [np.full(RESAMPLES, 0.9), np.full(RESAMPLES, 0.8)]
    draws = np.random.default_rng(3)
    same = log_normal(Estimate(1.0, 0.9, 1.1), draws)
    other = log_normal(Estimate(1.0, 0.9, 1.1), draws)
    assert standings(scores, [same, same])[1].undominated == 0.0, "one measurement"
    assert standings(scores, [same, other])[1].undominated == pytest.approx(0.5, abs=0.03), "two of one cost"


def test_a_log_normal_has_the_interval_that_it_was_made_of() -> None:
    draws = log_normal(Estimate(0.5, 0.4, 0.625), np.random.default_rng(4))
    found = Sample(float(np.median(draws)), draws)
    assert [found.value, *found.interval] == pytest.approx([0.5, 0.4, 0.625], rel=0.02)


def test_what_is_not_positive_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="is not a ratio"):
        log_normal(Estimate(0.5, 0.0, 1.0), np.random.default_rng(0))


def test_the_front_is_in_the_order_of_cost() -> None:
    assert front([0.9, 0.5, 0.7, 0.4, 0.9], [1.0, 0.2, 0.5, 0.3, 1.0]) == [1, 2, 0, 4]
    assert front([], []) == []


def area(scores: list[float], costs: list[float]) -> float:
    return float(hypervolume([np.full(1, s) for s in scores], [np.full(1, c) for c in costs])[0])


def test_the_area_of_steps() -> None:
    assert area([0.8], [0.25]) == pytest.approx(0.6)
    assert area([0.8, 0.5], [0.5, 0.25]) == pytest.approx(0.25 * 0.5 + 0.5 * 0.8)
    assert area([0.5, 0.9], [0.25, 1.0]) == pytest.approx(0.375), "the teacher itself spans nothing"
    assert area([0.9], [1.2]) == 0.0, "dearer than the reference point"


points = st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=8)


@given(points)
def test_the_front_alone_has_the_whole_area(rows: list[tuple[float, float]]) -> None:
    scores, costs = [score for score, _ in rows], [cost for _, cost in rows]
    best = front(scores, costs)
    assert best
    assert area([scores[i] for i in best], [costs[i] for i in best]) == pytest.approx(area(scores, costs), abs=1e-8)
    grid = (np.arange(2000) + 0.5) / 2000
    reached = [max([s for s, c in rows if c <= x], default=0.0) for x in grid]
    assert area(scores, costs) == pytest.approx(np.mean(reached), abs=0.005)
