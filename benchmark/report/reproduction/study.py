"""The rows that the paper's results are tested on, and what each of their checkpoints has read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmark.metrics.paired import Bootstrap, Floats, Sample, micro_f1
from benchmark.records.record import Record
from benchmark.report import paper
from benchmark.report.against import Counts, Teds
from benchmark.report.rows import Row, Setting, by_setting


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the checkpoints of a row have read: `values` (checkpoints, documents, 4), documents in the order of `names`.

    The four are N-TED accuracy, then the true positives, false negatives and false positives of F1.
    """

    names: tuple[str, ...]
    values: Floats

    def ted(self, name: str) -> Sample:
        """The N-TED accuracy of the row `name` (`Bootstrap.sample`)."""
        return _bootstrap(len(self.names)).sample(self.values[..., 0], name)

    def f1(self, name: str) -> Sample:
        return _bootstrap(len(self.names)).sample(self.values[..., 1:], name, micro_f1)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Settings without options that differ in data set and protocol alone, on the paper's data sets.

    `rows` are by setting and strategy, `scores` by the cell of a row's first record.
    """

    settings: Mapping[Setting, Mapping[str, Row]]
    scores: Mapping[str, Scores]

    @property
    def datasets(self) -> list[str]:
        """In the paper's order."""
        return list(dict.fromkeys(setting.dataset for setting in self.settings))

    @property
    def records(self) -> Iterator[Record]:
        return (record for rows in self.settings.values() for row in rows.values() for record in row.scored)

    def rows(self, dataset: str, protocol: str) -> Mapping[str, Row]:
        """By strategy; empty where that was not run."""
        found = (rows for setting, rows in self.settings.items() if _place(setting) == (dataset, protocol))
        return next(found, {})

    def scores_of(self, row: Row) -> Scores | None:
        """None where what is stored of the documents is not what the records say."""
        return self.scores.get(row.records[0].cell)


def studies(records: Sequence[Record], teds: Teds, counts: Counts) -> list[Study]:
    """One for each scale, budget, limit and device that has rows of the paper's systems."""
    groups: dict[tuple[object, ...], dict[Setting, dict[str, Row]]] = {}
    for setting, rows in by_setting(records).items():
        measured = {row.strategy: row for row in rows if row.scored}
        if not setting.options and _of_the_paper(measured.values()):
            group = groups.setdefault((setting.scale, setting.budget, setting.limit, setting.device), {})
            # Of two sizes of a test split the larger one, which comes first.
            if _place(setting) not in map(_place, group):
                group[setting] = measured
    return [Study(settings, _scores(settings, teds, counts)) for settings in groups.values()]


@cache
def _bootstrap(documents: int) -> Bootstrap:
    return Bootstrap(documents)


def _of_the_paper(rows: Collection[Row]) -> bool:
    stands_for = any(row.records[0].stands_for in paper.STANDS_FOR.values() for row in rows)
    return stands_for and any(row.paper_name in paper.SYSTEMS and not row.reference for row in rows)


def _place(setting: Setting) -> tuple[str, str]:
    return setting.dataset, setting.protocol


def _scores(settings: Mapping[Setting, Mapping[str, Row]], teds: Teds, counts: Counts) -> dict[str, Scores]:
    rows = [row for found in settings.values() for row in found.values()]
    found = ((row.records[0].cell, _values(row, teds, counts)) for row in rows)
    return {cell: scores for cell, scores in found if scores}


def _values(row: Row, teds: Teds, counts: Counts) -> Scores | None:
    """Of all its checkpoints, if they are known to have read the same documents."""
    cells = [record.cell for record in row.distinct]
    names = sorted(teds.get(cells[0], ()))
    if not names or any(sorted(teds.get(cell, ())) != names for cell in cells):
        return None
    values = [[(teds[cell][name], *counts[cell][name]) for name in names] for cell in cells]
    return Scores(tuple(names), np.array(values, dtype=np.float64))
