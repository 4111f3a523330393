"""Intervals of quantiles, against sums over the binomial distribution in other words, and against draws."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.measure.quantiles import HALF, P95, enclosing_ranks, median, quantile
from benchmark.records.record import Interval


def coverage(count: int, low: int, high: int, at: Fraction) -> Fraction:
    """How often the true quantile lies between the values of two ranks: each value is below it or above."""
    total = Fraction(0)
    for side in product((1, 0), repeat=count):
        if low <= sum(side) < high:
            total += prod((at if below else 1 - at for below in side), start=Fraction(1))
    return total


@pytest.mark.parametrize("count", [6, 7, 9, 12])
@pytest.mark.parametrize("at", [HALF, Fraction(2, 5), Fraction(7, 10)])
def test_the_ranks_cover_95_percent(count: int, at: Fraction) -> None:
    ranks = enclosing_ranks(count, at)
    if ranks is None:
        assert coverage(count, 1, count, at) < Fraction(19, 20)
    else:
        assert coverage(count, *ranks, at) >= Fraction(19, 20)


@pytest.mark.parametrize("count", [6, 7, 9, 12, 15])
def test_of_a_median_no_narrower_ones_of_equal_sides_do(count: int) -> None:
    ranks = enclosing_ranks(count, HALF)
    assert ranks is not None
    low, high = ranks
    assert low + high == count + 1
    assert coverage(count, low, high, HALF) >= Fraction(19, 20) > coverage(count, low + 1, high - 1, HALF)


def test_known_ranks() -> None:
    assert enclosing_ranks(40, HALF) == (14, 27)
    assert enclosing_ranks(60, HALF) == (22, 39)
    assert enclosing_ranks(100, HALF) == (40, 61)  # as in tables of the sign test
    # 0.95^60 = 4.61 % is all that the largest of 60 may miss, and leaves 0.39 % for the other side.
    assert enclosing_ranks(60, P95) == (52, 60)
    assert enclosing_ranks(200, P95) == (184, 197)


@pytest.mark.parametrize(("at", "fewest"), [(HALF, 6), (P95, 59), (1 - P95, 59), (Fraction(9, 10), 29)])
def test_the_fewest_values_with_an_interval(at: Fraction, fewest: int) -> None:
    assert enclosing_ranks(fewest - 1, at) is None
    assert enclosing_ranks(fewest, at) is not None


@given(st.integers(1, 120), st.integers(1, 19))
def test_the_other_end_is_the_mirror(count: int, twentieths: int) -> None:
    at = Fraction(twentieths, 20)
    ranks = enclosing_ranks(count, at)
    mirrored = enclosing_ranks(count, 1 - at)
    assert ranks == (mirrored and (count + 1 - mirrored[1], count + 1 - mirrored[0]))


@pytest.mark.parametrize("at", [HALF, P95])
def test_of_many_draws_95_percent_hold_the_true_quantile(at: Fraction) -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, 60))
    true = -np.log(1 - float(at))
    found = [quantile(values, at) for values in draws]
    held = np.mean([one.low is not None and one.high is not None and one.low <= true <= one.high for one in found])
    assert 0.94 < held < 0.985


def test_values_are_taken_by_rank() -> None:
    shuffled = np.random.default_rng(1).permutation(np.arange(1.0, 41.0))
    assert median(shuffled) == Interval(value=20.5, low=14, high=27)
    assert quantile(np.arange(1.0, 202.0), P95).value == 191


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_values_have_no_interval(count: int) -> None:
    assert median(np.arange(count, dtype=float)) == Interval(value=(count - 1) / 2)
