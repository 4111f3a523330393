"""How far apart two rows are on the same documents, with an interval: a paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
INTERVAL = (2.5, 97.5)

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], Floats]
"""(shares of documents (resamples, documents), values (checkpoints, documents, ...)) -> (resamples, checkpoints)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def decisive(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_score(shares: Floats, scores: Floats) -> Floats:
    """The mean of scores (checkpoints, documents)."""
    means: Floats = shares @ scores.T
    return means


def micro_f1(shares: Floats, counts: Floats) -> Floats:
    """The micro F1 of counts (checkpoints, documents, 3) of true positives, false negatives and false positives."""
    tp, fn, fp = np.moveaxis(np.einsum("rd,cdk->rck", shares, counts), 2, 0)
    whole = tp + (fn + fp) / 2
    scores: Floats = np.divide(tp, whole, out=np.ones_like(tp), where=whole > 0)
    return scores


def paired_difference(ours: Floats, theirs: Floats, statistic: Statistic = mean_score) -> Difference:
    """The statistic of `ours` minus that of `theirs`, each (checkpoints, documents, ...), documents in one order.

    A resample draws documents, the same for both, and checkpoints of each by themselves (percentile bootstrap; Efron
    and Tibshirani 1993, chapter 13): what it tells is what other test documents and other seeds would give. The spread
    of n checkpoints counts n / (n - 1)-fold, for resamples of few are too alike; of one it tells nothing, and the
    interval is that of the documents alone. The same numbers each time. `ValueError` if the documents are not as many,
    or there are none.
    """
    first, second = resampled([ours, theirs], statistic)
    low, high = np.percentile(first - second, INTERVAL)
    each = np.full((1, ours.shape[1]), 1 / ours.shape[1])
    value = statistic(each, ours).mean() - statistic(each, theirs).mean()
    return Difference(float(value), float(low), float(high))


def resampled(rows: Sequence[Floats], statistic: Statistic = mean_score) -> list[Floats]:
    """The statistic (resamples,) of each row (checkpoints, documents, ...), drawn as `paired_difference` says.

    `ValueError` if the documents are not as many, or there are none.
    """
    if len({row.shape[1:] for row in rows}) > 1 or not all(row.size for row in rows):
        raise ValueError(f"{' and '.join(str(row.shape) for row in rows)} are not scores of the same documents")
    draws = np.random.default_rng(0)
    shares = _shares(draws, rows[0].shape[1])
    return [(_wider(_shares(draws, len(row))) * statistic(shares, row)).sum(1) for row in rows]


def _shares(draws: np.random.Generator, count: int) -> Floats:
    """(resamples, count): the share that each of `count` things has in a resample of as many."""
    return draws.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def _wider(shares: Floats) -> Floats:
    """The same shares on average, with the variance of as many independent draws."""
    count = shares.shape[1]
    wider: Floats = 1 / count + (shares - 1 / count) * np.sqrt(count / max(1, count - 1))
    return wider
