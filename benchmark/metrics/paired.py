"""How far apart rows are on the same documents, how surely, and what could be seen at all: a paired bootstrap."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
INTERVAL = (2.5, 97.5)
LEVEL = 0.05
"""Below it a p-value is decisive."""
_NORMAL = NormalDist()
_DETECTABLE = _NORMAL.inv_cdf(1 - LEVEL / 2) + _NORMAL.inv_cdf(0.8)

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], Floats]
"""(shares of documents (resamples, documents), values (checkpoints, documents, ...)) -> (resamples, checkpoints)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference, its 95 % interval and its two-sided p-value.

    `deviation` is its standard deviation over resamples, its standard error.
    """

    value: float
    low: float
    high: float
    p: float
    deviation: float

    @property
    def decisive(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True)
class Sample:
    """A row's statistic, and what it is in each resample (resamples,)."""

    value: float
    resampled: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the statistic itself."""
        low, high = np.percentile(self.resampled, INTERVAL)
        return float(low), float(high)

    def minus(self, other: Sample) -> Difference:
        """How far this row is above another one of the same `Bootstrap`.

        The p-value is twice the smaller share of resamples on either side of 0, itself counted as one of them (Davison
        and Hinkley 1997, section 4.2.3). Where all lie on one side it is that of a normal distribution, if that is
        smaller: a correction for hundreds of comparisons would undo what resamples can tell. It is never 0.
        """
        apart, value = self.resampled - other.resampled, self.value - other.value
        low, high = np.percentile(apart, INTERVAL)
        deviation, beyond = float(apart.std()), int(min((apart <= 0).sum(), (apart >= 0).sum()))
        p = min(1.0, 2 * (1 + beyond) / (1 + len(apart)))
        if not beyond and deviation:
            p = min(p, max(2 * _NORMAL.cdf(-abs(value) / deviation), sys.float_info.min))
        return Difference(value, float(low), float(high), p, deviation)


class Bootstrap:
    """Resamples of documents, the same for every row, so that rows are compared on the same ones.

    A resample draws documents, and checkpoints of each row by themselves (percentile bootstrap; Efron and Tibshirani
    1993, chapter 13): what it tells is what other test documents and other seeds would give. The spread of n
    checkpoints counts n / (n - 1)-fold, for resamples of few are too alike; of one it tells nothing, and the interval
    is that of the documents alone. The same numbers each time. `ValueError` if there are no documents.
    """

    def __init__(self, documents: int) -> None:
        if documents < 1:
            raise ValueError("a bootstrap of no documents")
        self._documents = documents
        self._shares = _shares(np.random.default_rng(0), documents)

    def sample(self, values: Floats, name: str, statistic: Statistic | None = None) -> Sample:
        """The row `name`, of `values` (checkpoints, documents, ...); its mean if no other statistic is asked for.

        Rows of different names draw their checkpoints independently. `ValueError` if these are not values of as many
        documents, there are none, or one is not finite.
        """
        if values.ndim < 2 or values.shape[1] != self._documents or not values.size:
            raise ValueError(f"{values.shape} are not values of the same {self._documents} documents")
        if not np.isfinite(values).all():
            raise ValueError(f"values of {name!r} are not finite")
        of = statistic or mean_score
        seeds = _shares(np.random.default_rng(zlib.crc32(name.encode())), len(values))
        each = np.full((1, self._documents), 1 / self._documents)
        return Sample(float(of(each, values).mean()), (_wider(seeds) * of(self._shares, values)).sum(1))


def paired_difference(
    ours: Floats, theirs: Floats, statistic: Statistic | None = None, names: tuple[str, str] = ("ours", "theirs")
) -> Difference:
    """The statistic of `ours` minus that of `theirs`, each (checkpoints, documents, ...), documents in one order.

    `names` are those of the rows (`Bootstrap.sample`). `ValueError` if the documents are not as many, there are none,
    or a value is not finite.
    """
    if ours.shape[1:] != theirs.shape[1:] or not (ours.size and theirs.size):
        raise ValueError(f"{ours.shape} and {theirs.shape} are not scores of the same documents")
    bootstrap = Bootstrap(ours.shape[1])
    first, second = (bootstrap.sample(*row, statistic) for row in zip((ours, theirs), names, strict=True))
    return first.minus(second)


def mean_score(shares: Floats, scores: Floats) -> Floats:
    """The mean of scores (checkpoints, documents)."""
    means: Floats = shares @ scores.T
    return means


def micro_f1(shares: Floats, counts: Floats) -> Floats:
    """The micro F1 of counts (checkpoints, documents, 3) of true positives, false negatives and false positives."""
    tp, fn, fp = np.moveaxis(np.einsum("rd,cdk->rck", shares, counts, optimize=True), 2, 0)
    whole = tp + (fn + fp) / 2
    scores: Floats = np.divide(tp, whole, out=np.ones_like(tp), where=whole > 0)
    return scores


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order (Holm 1979): those below 0.05 are wrong in 5 % of tables.

    `ValueError` for what is no probability.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("p-values lie between 0 and 1")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def detectable(differences: Sequence[Difference]) -> float | None:
    """The smallest difference that four tests in five would find decisive at 95 %; None of no differences.

    (1.96 + 0.84) standard errors (Cohen 1988, section 2.4), of their median: rows that are more alike can be told apart
    more finely.
    """
    errors = [difference.deviation for difference in differences if difference.deviation > 0]
    return _DETECTABLE * float(np.median(errors)) if errors else None


def _shares(draws: np.random.Generator, count: int) -> Floats:
    """(resamples, count): the share that each of `count` things has in a resample of as many."""
    drawn = draws.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count) / count


def _wider(shares: Floats) -> Floats:
    """The same shares on average, with the variance of as many independent draws."""
    count = shares.shape[1]
    wider: Floats = 1 / count + (shares - 1 / count) * np.sqrt(count / max(1, count - 1))
    return wider
