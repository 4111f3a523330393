"""The tables of what changed against the teacher, and of each field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmark.records.record import Record
from benchmark.report.changes import write_changes

Make = Callable[..., Record]


def told(made: Record, **changes: object) -> Record:
    assert made.metrics is not None
    values = made.metrics.model_dump() | {
        "agreement": {"ted": 0.75, "fields": 400, "right_to_wrong": 50, "wrong_to_right": 4},
        "fields": {"menu.nm": {"tp": 3, "fn": 1, "fp": 1}, "total": {"tp": 8, "fn": 0, "fp": 0}},
        "failures": {"looping": 2, "wrong value": 10},
    }
    return Record.model_validate(made.model_dump() | {"metrics": values | changes})


def test_flips_are_told_in_a_hundred_fields_and_failures_in_a_hundred_documents(
    make_record: Make, tmp_path: Path
) -> None:
    seeds = [
        told(make_record("small", "receipts-mini")),
        told(make_record("small", "receipts-mini", 1), failures={"looping": 4}),
    ]
    write_changes(tmp_path, seeds)
    (line,) = pd.read_csv(tmp_path / "tables" / "changes.csv").to_dict("records")
    assert (line["teacher_ted_measured"], line["right_to_wrong_measured"], line["wrong_to_right_measured"]) == (
        0.75,
        12.5,
        1,
    )
    assert (line["looping_measured"], line["looping_measured_std"]) == (3, 1.414)
    assert line["wrong_value_measured"] == 10
    text = (tmp_path / "tables" / "changes.md").read_text()
    assert "| small      |              0.750 |             12.5 |" in text


def test_each_field_has_an_f1_the_most_frequent_first(make_record: Make, tmp_path: Path) -> None:
    write_changes(tmp_path, [told(make_record("small", "receipts-mini"))])
    frame = pd.read_csv(tmp_path / "tables" / "fields.csv")
    assert dict(zip(frame["field"], frame["f1_measured"], strict=True)) == {"total": 1.0, "menu.nm": 0.75}
    assert "| strategy   |   total |   menu.nm |" in (tmp_path / "tables" / "fields.md").read_text()


def test_old_records_tell_nothing(records: list[Record], tmp_path: Path) -> None:
    assert write_changes(tmp_path, records) == []
    paths = write_changes(tmp_path, [*records, told(records[0])])
    assert [path.name for path in paths] == ["changes.csv", "changes.md", "fields.csv", "fields.md"]
