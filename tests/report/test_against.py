"""Rows beside the paper's own method, on the same documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.files import predictions_path, write_predictions
from benchmark.records.record import Prediction, Record
from benchmark.report.against import against, teds_of
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.rows import Row

Make = Callable[..., Record]
DOCUMENTS = [f"doc{number}" for number in range(8)]


@pytest.fixture
def rows(make_record: Make) -> list[Row]:
    """DONUT-hole of two seeds, and another of one."""
    hole = [make_record("prune-distill", "receipts-mini", seed) for seed in (0, 1)]
    return [Row(tuple(hole)), Row((make_record("small", "receipts-mini"),))]


def teds(rows: list[Row], **documents: list[str]) -> dict[str, dict[str, float]]:
    """Each seed of DONUT-hole reads 0.1 better than the one before, from 0.5; everybody else 0.75."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        for record in row.records:
            score = 0.5 + 0.1 * record.seed if row.strategy == "prune-distill" else 0.75
            found[record.cell] = dict.fromkeys(documents.get(row.strategy, DOCUMENTS), score)
    return found


def prediction(name: str, ted: float) -> Prediction:
    return Prediction(id=name, prediction={}, ground_truth={}, ted=ted, tp=0, fn=0, fp=0, text="")


def scored(record: Record, documents: int, ted: float) -> Record:
    assert record.metrics is not None
    metrics = record.metrics.model_copy(update={"ted": ted})
    return record.model_copy(update={"metrics": metrics, "test_documents": documents})


def test_a_row_is_compared_on_the_same_documents(rows: list[Row]) -> None:
    (column,) = against(rows, teds(rows))
    assert column.heading == "ted - prune-distill"
    assert column.text(rows[1]) == "+0.200 [+0.129, +0.271]"
    assert column.fields(rows[1]) == (0.2, 0.129, 0.271)
    assert column.text(rows[0]) == ""


def test_other_documents_are_not_compared(rows: list[Row]) -> None:
    (column,) = against(rows, teds(rows, small=DOCUMENTS[:-1]))
    assert column.text(rows[1]) == ""
    assert column.fields(rows[1]) == (None, None, None)


def test_without_the_method_or_its_documents_there_is_no_column(rows: list[Row]) -> None:
    assert against(rows[1:], teds(rows)) == ()
    known = teds(rows)
    del known[rows[0].records[1].cell]
    assert against(rows, known) == ()


def test_the_order_of_documents_does_not_matter(rows: list[Row]) -> None:
    forward, backward = teds(rows), teds(rows, small=DOCUMENTS[::-1])
    (one,), (other,) = against(rows, forward), against(rows, backward)
    assert one.fields(rows[1]) == other.fields(rows[1])


def test_the_leaderboard_has_it_where_predictions_are_stored(rows: list[Row], tmp_path: Path) -> None:
    scores = teds(rows)
    records = [
        scored(record, len(DOCUMENTS), sum(scores[record.cell].values()) / 8) for row in rows for record in row.records
    ]
    assert "ted - prune-distill" not in leaderboard_markdown(records, teds_of(tmp_path, records))
    for cell, own in scores.items():
        write_predictions(predictions_path(tmp_path, cell), [prediction(name, ted) for name, ted in own.items()])
    found = teds_of(tmp_path, records)
    assert found == scores
    text = leaderboard_markdown(records, found)
    assert "ted - prune-distill" in text
    assert "+0.200 [+0.129, +0.271]" in text


@pytest.mark.parametrize("harm", ["broken", "twice", "fewer", "other"])
def test_what_is_not_what_the_record_says_is_left_out(harm: str, make_record: Make, tmp_path: Path) -> None:
    record = scored(make_record("small", "receipts-mini"), 8, 0.5)
    names = {"twice": [*DOCUMENTS[:7], DOCUMENTS[0]], "fewer": DOCUMENTS[:7]}.get(harm, DOCUMENTS)
    path = predictions_path(tmp_path, record.cell)
    write_predictions(path, [prediction(name, 0.75 if harm == "other" else 0.5) for name in names])
    if harm == "broken":
        path.write_text("{")
    assert teds_of(tmp_path, [record]) == {}
