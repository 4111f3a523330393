"""Rows beside the paper's own method: how much better or worse each reads the same documents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar

import numpy as np

from benchmark.errors import UserError
from benchmark.metrics.paired import Difference, Floats, paired_difference
from benchmark.records.files import predictions_path, read_predictions
from benchmark.records.record import Record
from benchmark.report.columns import Field, rounded
from benchmark.report.rows import Row

Teds = Mapping[str, Mapping[str, float]]
"""N-TED accuracy of each document, by cell and by the document's id."""
METHOD = "DONUT-hole"


def teds_of(directory: Path, records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The scores of the documents of these records, where what is stored of them is what the record says."""
    found = ((record.cell, _stored(directory, record)) for record in records if record.status == "ok")
    return {cell: scores for cell, scores in found if scores}


def _stored(directory: Path, record: Record) -> dict[str, float]:
    """Nothing if it is not there, not whole, of another attempt, or ambiguous: the report goes on without it."""
    try:
        scores = {line.id: line.ted for line in read_predictions(predictions_path(directory, record.cell))}
    except UserError:
        return {}
    assert record.metrics is not None
    if len(scores) != record.test_documents or not math.isclose(fmean(scores.values()), record.metrics.ted):
        return {}
    return scores


@dataclass(frozen=True, slots=True)
class Against:
    """The difference of a row's N-TED accuracy to that of another row, with its paired interval."""

    other: Row
    teds: Teds
    align: ClassVar[str] = "right"
    names: ClassVar[tuple[str, ...]] = ("ted_difference", "ted_difference_low", "ted_difference_high")

    @property
    def heading(self) -> str:
        return f"ted - {self.other.strategy}"

    def text(self, row: Row) -> str:
        found = self._difference(row)
        return "" if found is None else str(found)

    def fields(self, row: Row) -> tuple[Field, ...]:
        found = self._difference(row)
        return (None,) * 3 if found is None else (rounded(found.value), rounded(found.low), rounded(found.high))

    def _difference(self, row: Row) -> Difference | None:
        """None where the two did not read the same documents, or it is not known how they read them."""
        if row.strategy == self.other.strategy:
            return None
        ours, theirs = matrices((row, self.other), self.teds)
        return None if ours is None or theirs is None else paired_difference(ours, theirs)


def against(rows: Sequence[Row], teds: Teds) -> tuple[Against, ...]:
    """The column, if the method is among the rows and its documents are known."""
    methods = (row for row in rows if row.paper_name == METHOD and _scores(row.distinct, teds))
    return tuple(Against(method, teds) for method in methods)


def matrices(rows: Sequence[Row], teds: Teds) -> list[Floats | None]:
    """The scores (checkpoints, documents) of each row, documents in one order.

    None for a row that did not read the same documents as the last one, or of which it is not known how it read them.
    """
    scores = [_scores(row.distinct, teds) for row in rows]
    documents = set(scores[-1][0]) if scores and scores[-1] else set()
    return [_matrix(own) if own and set(own[0]) == documents else None for own in scores]


def _scores(records: Sequence[Record], teds: Teds) -> list[Mapping[str, float]]:
    """Of each record; nothing if one of them is not known, or read other documents."""
    found = [teds[record.cell] for record in records if teds.get(record.cell)]
    alike = len(found) == len(records) and len({frozenset(scores) for scores in found}) == 1
    return found if alike else []


def _matrix(scores: Sequence[Mapping[str, float]]) -> Floats:
    documents = sorted(scores[0])
    return np.array([[of[name] for name in documents] for of in scores])
