"""How far apart two rows are on the same documents, with an interval: a paired bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and its 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Difference:
    """The mean of `ours` minus that of `theirs`, each (checkpoints, documents), over the same documents in one order.

    A resample draws documents, the same for both, and checkpoints of each by themselves (percentile bootstrap; Efron
    and Tibshirani 1993, chapter 13): what it tells is what other test documents and other seeds would give. The spread
    of n checkpoints counts n / (n - 1)-fold, for resamples of few are too alike; of one it tells nothing, and the
    interval is that of the documents alone. The same numbers each time. `ValueError` if the documents are not as many,
    or there are none.
    """
    if ours.shape[1:] != theirs.shape[1:] or not (ours.size and theirs.size):
        raise ValueError(f"{ours.shape} and {theirs.shape} are not scores of the same documents")
    draws = np.random.default_rng(0)
    documents = _shares(draws, ours.shape[1])
    means = [(_wider(_shares(draws, len(own))) @ own * documents).sum(1) for own in (ours, theirs)]
    low, high = np.percentile(means[0] - means[1], _INTERVAL)
    return Difference(float(ours.mean() - theirs.mean()), float(low), float(high))


def _shares(draws: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(resamples, count): the share that each of `count` things has in a resample of as many."""
    return draws.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def _wider(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same shares on average, with the variance of as many independent draws."""
    count = shares.shape[1]
    wider: NDArray[np.float64] = 1 / count + (shares - 1 / count) * np.sqrt(count / max(1, count - 1))
    return wider
