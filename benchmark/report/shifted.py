"""The columns of the second test split: what a row reads there, and how much that is less than on the first."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.records.record import Record
from benchmark.report.columns import Measured
from benchmark.report.rows import Row

SHIFTED = "Shifted documents have the words of the test split in fonts, layouts, blur and skew that training never had."


def _ted(record: Record) -> float | None:
    return None if record.shifted is None else record.shifted.ted


def _drop(record: Record) -> float | None:
    if record.metrics is None or record.shifted is None:
        return None
    return record.metrics.ted - record.shifted.ted


def shifted_columns(rows: Sequence[Row]) -> tuple[Measured, ...]:
    """The columns, if a row has read the split: the drop is over all documents of either, which are not the same."""
    if not _read(rows):
        return ()
    return Measured("shifted_ted", "shifted ted", _ted), Measured("shifted_drop", "ted - shifted", _drop)


def shifted_sentence(rows: Sequence[Row]) -> str:
    """What the split is, its documents, and what a reader gets there that ignores the page; empty if none read it."""
    read = _read(rows)
    if not read:
        return ""
    counts = sorted({record.shifted_documents for record in read})
    floors = sorted({f"{s.ted_cannot_read:.3f}" for r in read if (s := r.shifted) and s.ted_cannot_read is not None})
    floor = f"; ted of a reader that cannot read: {', '.join(floors)}" if floors else ""
    return f"{SHIFTED} They are {', '.join(map(str, counts))}, others than those of ted{floor}."


def _read(rows: Sequence[Row]) -> list[Record]:
    return [record for row in rows for record in row.scored if record.shifted is not None]
