"""Two strategies on the same documents: how far apart they are, how surely, and on which documents most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from benchmark.metrics.paired import Difference, Floats, micro_f1, paired_difference
from benchmark.plugin.manager import check_known
from benchmark.records.files import predictions_path, read_predictions, read_records
from benchmark.records.record import Prediction
from benchmark.report.rows import Row, by_setting

_MOST = 5
"""Documents that are named."""

Read = Mapping[str, Prediction]
"""What a checkpoint has read, by the document's id."""


@dataclass(frozen=True, slots=True)
class Apart:
    """One document, and the mean N-TED accuracy of each of two strategies on it."""

    document: str
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two strategies in one setting: differences are the first minus the second.

    `better` and `worse` count the documents that the first reads better or worse, `most` are those on which they differ
    most.
    """

    setting: str
    ted: Difference
    f1: Difference
    documents: int
    better: int
    worse: int
    most: tuple[Apart, ...]


def compare(directory: Path, first: str, second: str) -> list[Comparison]:
    """Compare two strategies in every setting in which both have read the same documents.

    Raises `UserError` for a strategy without a record, for two that share no setting, and for predictions that are not
    there.
    """
    records = read_records(directory)
    known = {record.strategy for record in records if record.status == "ok"}
    for name in (first, second):
        check_known("strategy", name, known)
    found = []
    for setting, rows in by_setting(records).items():
        by_name = {row.strategy: row for row in rows if row.scored}
        if first in by_name and second in by_name and first != second:
            pair = {name: _read(directory, by_name[name]) for name in (first, second)}
            found.append(_compared(setting.title, pair))
    if not found:
        raise UserError(f"{first} and {second} have read no documents in common in {directory}")
    return found


def _read(directory: Path, row: Row) -> list[Read]:
    """What each checkpoint of a row has read."""
    return [
        {line.id: line for line in read_predictions(predictions_path(directory, record.cell))}
        for record in row.distinct
    ]


def _compared(setting: str, pair: Mapping[str, Sequence[Read]]) -> Comparison:
    first, second = pair.values()
    names = sorted(first[0])
    if any(sorted(read) != names for read in (*first, *second)):
        raise UserError(f"{setting}: the predictions are not of the same documents")
    values = {name: document_values(each, names) for name, each in pair.items()}
    ours, theirs = values.values()
    means = ours[..., 0].mean(0), theirs[..., 0].mean(0)
    apart = means[0] - means[1]
    most = [place for place in np.argsort(-np.abs(apart), kind="stable")[:_MOST] if apart[place]]
    one, other = values
    return Comparison(
        setting,
        paired_difference(ours[..., 0], theirs[..., 0], names=(one, other)),
        paired_difference(ours[..., 1:], theirs[..., 1:], micro_f1, (one, other)),
        len(names),
        int((apart > 0).sum()),
        int((apart < 0).sum()),
        tuple(Apart(names[place], float(means[0][place]), float(means[1][place])) for place in most),
    )


def document_values(checkpoints: Sequence[Read], names: Sequence[str]) -> Floats:
    """(checkpoints, documents, 4): N-TED accuracy, then true positives, false negatives and false positives."""
    lines = [[read[name] for name in names] for read in checkpoints]
    return np.array([[[line.ted, line.tp, line.fn, line.fp] for line in row] for row in lines], dtype=np.float64)
