"""Studies made by hand: records, and the score of every document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from benchmark.metrics.paired import Floats
from benchmark.records.record import Record
from benchmark.report.reproduction.study import Scores, Study
from benchmark.report.rows import Row, by_setting

DOCUMENTS = 40


def spread(mean: float) -> list[float]:
    """The scores of all documents, a little above and below the mean."""
    return [mean + (0.02 if place % 2 else -0.02) for place in range(DOCUMENTS)]


def _values(teds: Sequence[Sequence[float]]) -> Floats:
    """(checkpoints, documents, 4): ten fields a document, as many of them right as N-TED says."""
    return np.array([[[ted, 10 * ted, 10 * (1 - ted), 10 * (1 - ted)] for ted in one] for one in teds])


def _make_study(records: Sequence[Record], means: Mapping[str, float]) -> Study:
    """Documents are read as the mean of the strategy says; of a strategy without one they are not known."""
    settings = {setting: {row.strategy: row for row in rows} for setting, rows in by_setting(records).items()}
    names = tuple(f"doc{number:02}" for number in range(DOCUMENTS))
    known = [row for rows in settings.values() for row in rows.values() if row.strategy in means]

    def scores(row: Row) -> Scores:
        return Scores(names, _values([spread(means[row.strategy])] * len(row.distinct)))

    return Study(settings, {row.records[0].cell: scores(row) for row in known})


@pytest.fixture
def make_study() -> Callable[[Sequence[Record], Mapping[str, float]], Study]:
    return _make_study
