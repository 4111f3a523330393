"""Rows beside each other: how much better or worse each reads the same documents, and which are told apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from benchmark.errors import UserError
from benchmark.metrics.paired import LEVEL, Bootstrap, Difference, Floats, Sample, Statistic, holm
from benchmark.records.files import predictions_path, read_predictions
from benchmark.records.record import Prediction, Record
from benchmark.report.rows import Row

Teds = Mapping[str, Mapping[str, float]]
"""N-TED accuracy of each document, by cell and by the document's id."""
Counts = Mapping[str, Mapping[str, tuple[int, int, int]]]
"""True positives, false negatives and false positives of each document, by cell and by the document's id."""
Read = Mapping[str, float] | Mapping[str, tuple[int, int, int]]
Samples = Mapping[str, Sample]
"""The score of a setting's rows in each resample, by strategy."""
METHOD = "DONUT-hole"
BASELINE = "DONUT-base-0.5M"


class Pair(NamedTuple):
    """Two strategies of one setting."""

    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A difference, and its p-value corrected for the number of comparisons in its table."""

    difference: Difference
    p: float

    @property
    def decisive(self) -> bool:
        return self.p < LEVEL

    def __str__(self) -> str:
        return f"{self.difference}{' *' if self.decisive else ''}"


def teds_of(directory: Path, records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The scores of the documents of these records, where what is stored of them is what the record says."""
    return scores_of(directory, records)[0]


def scores_of(
    directory: Path, records: Iterable[Record]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, tuple[int, int, int]]]]:
    """As `teds_of`, and what the micro F1 of these records is made of; each file is read once."""
    teds: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, tuple[int, int, int]]] = {}
    for record in records:
        if record.status == "ok" and (lines := stored(directory, record)):
            teds[record.cell] = {name: line.ted for name, line in lines.items()}
            counts[record.cell] = {name: (line.tp, line.fn, line.fp) for name, line in lines.items()}
    return teds, counts


def stored(directory: Path, record: Record) -> dict[str, Prediction]:
    """What a measured record's checkpoint has read, by the document's id.

    Nothing if it is not there, not whole, of another attempt, or ambiguous: the report goes on without it.
    """
    try:
        lines = {line.id: line for line in read_predictions(predictions_path(directory, record.cell))}
    except UserError:
        return {}
    assert record.metrics is not None
    if len(lines) != record.test_documents:
        return {}
    mean = fmean(line.ted for line in lines.values())
    return lines if math.isclose(mean, record.metrics.ted) else {}


def samples_of(rows: Sequence[Row], read: Teds | Counts, statistic: Statistic | None = None) -> dict[str, Sample]:
    """Resamples of the rows of one setting whose documents are known; of rows that read others, those of the most.

    The mean of what is known of each document, if no other `statistic` is asked for.
    """
    found = {row.strategy: scores for row in rows if (scores := _scores(row.distinct, read))}
    sets = Counter(tuple(sorted(scores[0])) for scores in found.values())
    if not sets:
        return {}
    ((documents, _),) = sets.most_common(1)
    bootstrap = Bootstrap(len(documents))
    return {
        name: bootstrap.sample(_matrix(scores, documents), name, statistic)
        for name, scores in found.items()
        if tuple(sorted(scores[0])) == documents
    }


def matrices(rows: Sequence[Row], teds: Teds) -> list[Floats | None]:
    """N-TED accuracy (checkpoints, documents) of each row, for those that have read what the last one has read."""
    scores = [_scores(row.distinct, teds) for row in rows]
    documents = tuple(sorted(scores[-1][0])) if scores and scores[-1] else ()
    return [_matrix(own, documents) if own and tuple(sorted(own[0])) == documents else None for own in scores]


def compared(pairs: Iterable[Pair], samples: Samples) -> dict[Pair, Compared]:
    """Each pair that has samples of both, corrected for their number."""
    known = [pair for pair in pairs if pair.ours != pair.theirs and {*pair} <= samples.keys()]
    found = [samples[pair.ours].minus(samples[pair.theirs]) for pair in known]
    corrected = holm([difference.p for difference in found])
    return dict(zip(known, map(Compared, found, corrected), strict=True))


def comparisons(
    groups: Sequence[Sequence[Row]], samples: Samples, metric: str = "ted"
) -> dict[str, dict[str, Compared]]:
    """What each row is compared with -> strategy -> how: the reference, the paper's baseline and method, the row above.

    Rows are in the order of their lines; that above is of the same group, for others had other documents. Each of
    these is a table of its own, corrected by itself.
    """
    rows = [row for group in groups for row in group]
    names = [row.strategy for row in rows]
    chosen = [row.strategy for row in rows if row.reference]
    chosen += [row.strategy for paper_name in (BASELINE, METHOD) for row in rows if row.paper_name == paper_name]
    tables = {f"{metric} - {other}": [Pair(name, other) for name in names] for other in dict.fromkeys(chosen)}
    tables[f"{metric} - row above"] = [
        Pair(below.strategy, above.strategy) for group in groups for above, below in pairwise(group)
    ]
    found = {heading: compared(pairs, samples) for heading, pairs in tables.items()}
    return {heading: {pair.ours: one for pair, one in of.items()} for heading, of in found.items() if of}


def _scores(records: Sequence[Record], read: Teds | Counts) -> list[Read]:
    """Of each record; nothing if one of them is not known, or read other documents."""
    found: list[Read] = [read[record.cell] for record in records if read.get(record.cell)]
    alike = len(found) == len(records) and len({frozenset(scores) for scores in found}) == 1
    return found if alike else []


def _matrix(scores: Sequence[Read], documents: Sequence[str]) -> Floats:
    return np.array([[of[name] for name in documents] for of in scores], dtype=np.float64)
