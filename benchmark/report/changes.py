"""What changed against the teacher, not only how much: flips, kinds of failure and the F1 of each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.metrics.f1 import FieldCounts, f1_from_counts
from benchmark.metrics.failures import FAILURES
from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.columns import Column, Measured, Text, csv_text, escaped, markdown_table
from benchmark.report.rows import Get, Row, Setting, by_setting
from benchmark.types import Failure

_NOTES = (
    "A score can stay the same while other fields are right than before. *Like the teacher*: the N-TED accuracy of "
    "what a row reads if what the teacher reads is taken as the truth. *Right to wrong* and *wrong to right*: how many "
    "of 100 fields of the ground truth the teacher has right and the row has not, and the other way round. Then in how "
    "many of 100 documents a kind of failure occurs: *unparseable*, its tags do not nest; *looping*, it writes the "
    "same three times in a row or more; *truncated*, it reached the most tokens that the model writes; *missing "
    "field*, *wrong value*, *invented key*: at some key it has fewer, other or more values than the ground truth."
)
_FIELD_NOTES = "The micro F1 of the values at each key path, over all test documents; ± is the spread over seeds."
_STRATEGY: Column[Row] = Text("strategy", "strategy", lambda row: row.strategy)


def write_changes(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``tables/changes`` and ``tables/fields``, each as ``.md`` and ``.csv``, where records tell of them.

    Raises `UserError` if that fails.
    """
    told = [record for record in records if record.metrics is not None and record.metrics.failures]
    settings = by_setting(told)
    if not settings:
        return []
    fields = {setting: _field_columns(rows) for setting, rows in settings.items()}
    texts = {
        "changes.md": _markdown("What changed", _NOTES, settings, dict.fromkeys(settings, COLUMNS)),
        "changes.csv": _csv(settings),
        "fields.md": _markdown("F1 of each field", _FIELD_NOTES, settings, fields),
        "fields.csv": _fields_csv(settings),
    }
    for name, text in texts.items():
        write_atomically(directory / "tables" / name, text.encode())
    return [directory / "tables" / name for name in sorted(texts)]


def _agreement(name: str, of_fields: bool = False) -> Get:
    def get(record: Record) -> float | None:
        found = record.metrics and record.metrics.agreement
        if not found or (of_fields and not found.fields):
            return None
        value = float(getattr(found, name))
        return 100 * value / found.fields if of_fields else value

    return get


def _share(failure: Failure) -> Get:
    def get(record: Record) -> float | None:
        if record.metrics is None or failure not in record.metrics.failures:
            return None
        return 100 * record.metrics.failures[failure] / record.test_documents

    return get


COLUMNS: tuple[Column[Row], ...] = (
    _STRATEGY,
    Measured("teacher_ted", "like the teacher", _agreement("ted")),
    Measured("right_to_wrong", "right to wrong", _agreement("right_to_wrong", of_fields=True), 1),
    Measured("wrong_to_right", "wrong to right", _agreement("wrong_to_right", of_fields=True), 1),
    *(Measured(failure.replace(" ", "_"), failure, _share(failure), 1) for failure in FAILURES),
)


def _paths(rows: Sequence[Row]) -> list[str]:
    """The key paths of the ground truth, the most frequent ones first."""
    counts: dict[str, int] = {}
    for row in rows:
        for record in row.scored:
            for path, count in (record.metrics.fields if record.metrics else {}).items():
                counts[path] = max(counts.get(path, 0), count.tp + count.fn)
    return sorted((path for path, count in counts.items() if count), key=lambda path: (-counts[path], path))


def _field_f1(path: str) -> Get:
    def get(record: Record) -> float | None:
        found = record.metrics and record.metrics.fields.get(path)
        return f1_from_counts([FieldCounts(found.tp, found.fn, found.fp)]) if found else None

    return get


def _field_columns(rows: Sequence[Row]) -> tuple[Column[Row], ...]:
    return (_STRATEGY, *(Measured(path, path, _field_f1(path)) for path in _paths(rows)))


def _markdown(
    title: str, notes: str, settings: Mapping[Setting, list[Row]], columns: Mapping[Setting, tuple[Column[Row], ...]]
) -> str:
    lines = [f"# {title}", "", notes, ""]
    for setting, rows in settings.items():
        lines += [f"## {escaped(setting.title)}", "", markdown_table(columns[setting], rows), ""]
    return "\n".join(lines)


def _csv(settings: Mapping[Setting, list[Row]]) -> str:
    header = [*Setting._fields, *(name for column in COLUMNS for name in column.names)]
    lines = [
        [*map(setting.text, Setting._fields), *(field for column in COLUMNS for field in column.fields(row))]
        for setting, rows in settings.items()
        for row in rows
    ]
    return csv_text(lines, header)


def _fields_csv(settings: Mapping[Setting, list[Row]]) -> str:
    """Data sets have other keys: a line each."""
    header = [*Setting._fields, "strategy", "field", "f1_measured", "f1_measured_std"]
    lines = [
        [*map(setting.text, Setting._fields), row.strategy, path, *Measured(path, path, _field_f1(path)).fields(row)]
        for setting, rows in settings.items()
        for path in _paths(rows)
        for row in rows
    ]
    return csv_text(lines, header)
