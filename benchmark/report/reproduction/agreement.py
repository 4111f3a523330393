"""Tables 2 to 5: whether our rows come in the order of the paper's, by Spearman's rank correlation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metrics.paired import INTERVAL, Floats, Sample
from benchmark.report import paper
from benchmark.report.reproduction.study import Scores, Study
from benchmark.report.rows import Get, Row, metric

_FEWEST = 3
"""Systems: two agree or not by a toss."""


@dataclass(frozen=True, slots=True)
class System:
    """One system in one metric; `low` and `high` are the 95 % interval of what was measured, if it is known."""

    name: str
    reported: float
    measured: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation of `systems` systems, with its 95 % interval if that is known.

    `p` is the exact two-sided p-value of a random order.
    """

    value: float
    systems: int
    p: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """One metric of one table on one data set; no correlation of fewer than three systems, or of equals."""

    table: int
    dataset: str
    metric: str
    systems: tuple[System, ...]
    correlation: Correlation | None

    @property
    def ranks(self) -> list[tuple[float, float]]:
        """Of each system, as reported and as measured; 1 is the best, and equals share the mean of their ranks."""
        return list(zip(*(_ranks([get(one) for one in self.systems]) for get in (_reported, _measured)), strict=True))


def agreements(study: Study) -> list[Agreement]:
    """Of each table and data set under the paper's protocol, those metrics in which a system was reported."""
    found = []
    for dataset in study.datasets:
        rows = [row for row in study.rows(dataset, "paper").values() if row.paper_name]
        tables = [table for table, name in paper.STANDS_FOR.items() if rows and name == rows[0].records[0].stands_for]
        for table in tables:
            found += [_ted(study, dataset, table, rows), *([_f1(study, dataset, table, rows)] if table != 2 else [])]
            found += [_cka(dataset, rows)] if table == 2 else []
    return [agreement for agreement in found if agreement.systems]


def spearman(reported: Sequence[float], measured: Sequence[float]) -> float:
    """Spearman's rank correlation, equals at the mean of their ranks; NaN if all of one side are equal."""
    if len(set(reported)) == 1 or len(set(measured)) == 1:
        return float("nan")
    from scipy.stats import spearmanr  # slow to import, and most of a report does without

    return float(spearmanr(reported, measured).statistic)


def chance(reported: Sequence[float], measured: Sequence[float]) -> float:
    """The share of all orders of `measured` whose rank correlation is as far from 0 (exact permutation test)."""
    orders = np.array(list(itertools.permutations(measured)))
    found = np.abs(correlations(reported, orders))
    return float((found >= abs(spearman(reported, measured)) - 1e-9).mean())


def _ted(study: Study, dataset: str, table: int, rows: Sequence[Row]) -> Agreement:
    def reported(name: str) -> float | None:
        scores = paper.scores(table, name)
        return None if scores is None else scores.ted

    return _agreement(table, dataset, "N-TED", rows, reported, metric("ted"), _samples(study, Scores.ted))


def _f1(study: Study, dataset: str, table: int, rows: Sequence[Row]) -> Agreement:
    def reported(name: str) -> float | None:
        scores = paper.scores(table, name)
        return None if scores is None else scores.f1

    return _agreement(table, dataset, "F1", rows, reported, metric("f1"), _samples(study, Scores.f1))


def _cka(dataset: str, rows: Sequence[Row]) -> Agreement:
    # It is stored of a model, not of each document: there is nothing to draw from.
    return _agreement(5, dataset, "CKA", rows, paper.cka, metric("cka"), lambda rows: [])


def _samples(study: Study, sample: Callable[[Scores, str], Sample]) -> Callable[[Sequence[Row]], list[Sample]]:
    """Of the rows, if all are known to have read the same documents."""

    def samples(rows: Sequence[Row]) -> list[Sample]:
        found = {row.strategy: scores for row in rows if (scores := study.scores_of(row))}
        alike = len(found) == len(rows) and len({scores.names for scores in found.values()}) == 1
        return [sample(scores, name) for name, scores in found.items()] if alike else []

    return samples


def _agreement(
    table: int,
    dataset: str,
    name: str,
    rows: Sequence[Row],
    reported: Callable[[str], float | None],
    get: Get,
    sample: Callable[[Sequence[Row]], list[Sample]],
) -> Agreement:
    known = [row for row in rows if reported(str(row.paper_name)) is not None and row.mean(get) is not None]
    samples = sample(known)
    ends: Sequence[tuple[float | None, float | None]] = [one.interval for one in samples] or [(None, None)] * len(known)
    systems = tuple(
        System(str(row.paper_name), reported(str(row.paper_name)) or 0.0, row.mean(get) or 0.0, *end)
        for row, end in zip(known, ends, strict=True)
    )
    return Agreement(table, dataset, name, systems, _correlation(systems, samples))


def _correlation(systems: Sequence[System], samples: Sequence[Sample]) -> Correlation | None:
    reported, measured = ([get(one) for one in systems] for get in (_reported, _measured))
    value = spearman(reported, measured) if len(systems) >= _FEWEST else float("nan")
    if np.isnan(value):
        return None
    low = high = None
    if samples:
        found = correlations(reported, np.stack([one.resampled for one in samples], axis=1))
        known = found[np.isfinite(found)]
        low, high = np.percentile(known, INTERVAL).tolist() if known.size else (None, None)
    return Correlation(value, len(systems), chance(reported, measured), low, high)


def correlations(reported: Sequence[float], orders: Floats) -> Floats:
    """Spearman's of each row of `orders`, (orders, systems); NaN where all of one are equal."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=-1) for values in (np.array([reported]), orders)]
    ours, theirs = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    sizes = np.sqrt((ours**2).sum(1) * (theirs**2).sum(1))
    found: Floats = np.divide((ours * theirs).sum(1), sizes, out=np.full(len(orders), np.nan), where=sizes > 0)
    return found


def _ranks(values: Sequence[float]) -> list[float]:
    from scipy.stats import rankdata

    ranks: list[float] = rankdata([-value for value in values]).tolist()
    return ranks


def _reported(system: System) -> float:
    return system.reported


def _measured(system: System) -> float:
    # What prints the same shares a rank.
    return round(system.measured, 3)
