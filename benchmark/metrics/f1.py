"""Field F1 as Donut's evaluator defines it: micro-averaged over (key path, value) pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.metrics.normalize import normalize_dict
from benchmark.types import Json

Fields = Counter[tuple[str, str]]
"""(key path, text) pairs; a path is its keys joined by dots."""


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """Fields of one document: found, missed, and predicted without being there."""

    tp: int
    fn: int
    fp: int


def field_f1(predictions: Sequence[Json], ground_truths: Sequence[Json]) -> float:
    """Micro F1 over all documents, in [0, 1]; prediction i belongs to ground truth i.

    Raises `ValueError` if there are no documents or the lengths differ, `TypeError` for anything but two
    sequences of documents, such as two documents, and for what `normalize_dict` refuses.
    """
    for documents in (predictions, ground_truths):
        _check_sequence(documents)
    if len(predictions) != len(ground_truths):
        raise ValueError(f"field F1 of {len(predictions)} predictions and {len(ground_truths)} ground truths")
    return f1_from_counts(map(field_counts, predictions, ground_truths))


def field_counts(prediction: Json, ground_truth: Json) -> FieldCounts:
    """Compare the fields of one document as multisets: the order and grouping of a list do not matter."""
    predicted, true = fields_of(prediction), fields_of(ground_truth)
    tp = (predicted & true).total()
    return FieldCounts(tp, fn=true.total() - tp, fp=predicted.total() - tp)


def counts_by_path(prediction: Json, ground_truth: Json) -> dict[str, FieldCounts]:
    """What `field_counts` counts, at each key path of the two."""
    predicted, true = fields_of(prediction), fields_of(ground_truth)
    tp, fn, fp = (_by_path(fields) for fields in (predicted & true, true - predicted, predicted - true))
    return {path: FieldCounts(tp[path], fn[path], fp[path]) for path in sorted({*tp, *fn, *fp})}


def _by_path(fields: Fields) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (path, _), count in fields.items():
        counts[path] += count
    return counts


def fields_of(document: Json) -> Fields:
    """The fields of a document, as often as it has each."""
    fields: Fields = Counter()
    stack: list[tuple[str, Json]] = [("", normalize_dict(document).value)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((f"{path}.{key}" if path else key, child) for key, child in value.items())
        elif isinstance(value, list):
            stack.extend((path, item) for item in value)
        else:
            fields[path, value] += 1
    return fields


def f1_from_counts(counts: Iterable[FieldCounts]) -> float:
    """tp / (tp + (fn + fp) / 2) of the sums over documents.

    1.0 if no document has a field, where Donut's evaluator divides by 0.
    Raises `ValueError` if there are no documents.
    """
    documents = list(counts)
    if not documents:
        raise ValueError("field F1 of no documents")
    tp = sum(document.tp for document in documents)
    wrong = sum(document.fn + document.fp for document in documents)
    return tp / (tp + wrong / 2) if tp + wrong else 1.0


def _check_sequence(documents: object) -> None:
    if not isinstance(documents, Sequence) or isinstance(documents, (str, bytes, bytearray)):
        raise TypeError(f"field F1 takes two lists of documents, got one {type(documents).__name__}")
