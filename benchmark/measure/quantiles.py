"""Quantiles of times, with intervals that hold whatever their distribution."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import accumulate
from math import comb

import numpy as np
from numpy.typing import NDArray

from benchmark.records.record import Interval

HALF, P95 = Fraction(1, 2), Fraction(19, 20)
_MISSED = Fraction(1, 20)
"""How often an interval may miss the true quantile."""


def median(values: NDArray[np.float64]) -> Interval:
    """`quantile` at a half."""
    return quantile(values, HALF)


def quantile(values: NDArray[np.float64], at: Fraction) -> Interval:
    """A quantile of independent values (n), interpolated, and two of the values that enclose the true one.

    They do so with a probability of 95 % or more, whatever the distribution (David & Nagaraja, Order Statistics, 2003,
    sec. 7.1). The interval is None where there are too few values for one: fewer than 6 for a median, 59 for the 95th
    percentile.
    """
    ordered, value = np.sort(values), float(np.quantile(values, float(at)))
    ranks = enclosing_ranks(len(ordered), at)
    if ranks is None:
        return Interval(value=value)
    return Interval(value=value, low=float(ordered[ranks[0] - 1]), high=float(ordered[ranks[1] - 1]))


@cache
def enclosing_ranks(count: int, at: Fraction) -> tuple[int, int] | None:
    """The ranks, from 1, of the two of `count` values that enclose their true quantile.

    The number B of values below it is binomial (count, at), so the values of ranks a and b miss it with probability
    P(B < a) + P(B >= b). Each side may miss 2.5 %; one whose outermost value misses more takes that, and leaves the
    other less.
    """
    weights = (comb(count, k) * at**k * (1 - at) ** (count - k) for k in range(count + 1))
    below = [Fraction(0), *accumulate(weights)]  # [k] is P(B < k)
    fewest, most = below[1], 1 - below[count]
    half = _MISSED / 2
    left = max(fewest, half) if most <= half else _MISSED - most
    right = max(most, half) if fewest <= half else _MISSED - fewest
    low = max((k for k in range(1, count + 1) if below[k] <= left), default=None)
    high = min((k for k in range(1, count + 1) if 1 - below[k] <= right), default=None)
    return None if low is None or high is None else (low, high)
