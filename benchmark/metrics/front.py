"""The front of score against cost, and how sure it is that a row is on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmark.metrics.paired import RESAMPLES, Floats

_NORMAL_95 = NormalDist().inv_cdf(0.975)
"""Standard deviations from the middle of a normal distribution to the end of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a row stands to all others over the resamples.

    `undominated` is the share of resamples in which no other row dominates it: has at least its score and at most its
    cost, and is better in one of them. `dominator` is the place of the row that dominates it most often, in the share
    `dominated_by_it` of resamples; None where none ever does.
    """

    undominated: float
    dominator: int | None
    dominated_by_it: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def standings(scores: Sequence[Floats], costs: Sequence[Floats]) -> list[Standing]:
    """How each row stands, by its score and its cost (resamples,) of the same resamples.

    The bootstrap probability of being on the Pareto front. Rows of equal score and cost do not dominate each other.
    """
    # Sums in another order are not other scores.
    means = np.round(np.stack(scores), 9)
    shares = np.stack(costs)
    found = []
    for mean, share in zip(means, shares, strict=True):
        dominating = (means >= mean) & (shares <= share) & ((means > mean) | (shares < share))
        often = dominating.mean(1)
        most = int(often.argmax())
        undominated = 1 - float(dominating.any(0).mean())
        found.append(Standing(undominated, most if often[most] else None, float(often[most])))
    return found


def front(scores: Sequence[float], costs: Sequence[float]) -> list[int]:
    """The places of rows that no other dominates, the cheapest first; of equal ones all."""
    points = [(np.full(1, score), np.full(1, cost)) for score, cost in zip(scores, costs, strict=True)]
    stand = standings(*zip(*points, strict=True)) if points else []
    return sorted((place for place, own in enumerate(stand) if own.undominated), key=lambda place: costs[place])


def hypervolume(scores: Sequence[Floats], costs: Sequence[Floats]) -> Floats:
    """(resamples,): the area between what the rows (resamples,) reach and the reference point, score 0 at cost 1.

    The mean over costs in [0, 1] of the best score that is to be had for at most that cost, 0 where there is none
    (Zitzler and Thiele 1998). The higher the better; it never falls when a row is added.
    """
    shares = np.minimum(np.stack(costs), 1)
    order = np.argsort(shares, axis=0, kind="stable")
    best = np.maximum.accumulate(np.take_along_axis(np.stack(scores), order, 0), 0)
    ends = np.concatenate([np.take_along_axis(shares, order, 0), np.ones((1, shares.shape[1]))])
    areas: Floats = (best * np.diff(ends, axis=0)).sum(0)
    return areas


def log_normal(estimate: Estimate, draws: np.random.Generator) -> Floats:
    """(resamples,) of a ratio: log-normal, with its value as the median and a 95 % interval as wide as its own.

    `ValueError` for one that is not positive.
    """
    if min(estimate.value, estimate.low, estimate.high) <= 0:
        raise ValueError(f"{estimate} is not a ratio")
    deviation = math.log(estimate.high / estimate.low) / (2 * _NORMAL_95)
    return estimate.value * np.exp(deviation * draws.standard_normal(RESAMPLES))
