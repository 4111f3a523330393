"""Rows beside the paper's own method, on the same documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.metrics.paired import Bootstrap, micro_f1
from benchmark.records.files import predictions_path, write_predictions
from benchmark.records.record import Prediction, Record
from benchmark.report.against import Pair, compared, comparisons, samples_of, scores_of, teds_of
from benchmark.report.differences import write_differences
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


def differences(rows: list[Row], scores: dict[str, dict[str, float]]) -> dict[str, dict[str, str]]:
    found = comparisons([rows], samples_of(rows, scores))
    return {heading: {name: str(one) for name, one in table.items()} for heading, table in found.items()}


def test_rows_are_compared_on_the_same_documents(rows: list[Row]) -> None:
    assert differences(rows, teds(rows)) == {
        "ted - prune-distill": {"small": "+0.200 [+0.129, +0.271] *"},
        "ted - row above": {"small": "+0.200 [+0.129, +0.271] *"},
    }


def test_each_row_is_compared_with_the_references_of_the_paper_and_the_row_above(make_record: Make) -> None:
    names = ("teacher", "none", "prune-distill", "small")
    rows = [Row((make_record(name, "receipts-mini"),)) for name in names]
    scores = {row.records[0].cell: {"a": 0.9 - 0.2 * place, "b": 0.5} for place, row in enumerate(rows)}
    found = differences(rows, scores)
    assert list(found) == ["ted - teacher", "ted - none", "ted - prune-distill", "ted - row above"]
    assert list(found["ted - none"]) == ["teacher", "prune-distill", "small"]
    assert list(found["ted - row above"]) == ["none", "prune-distill", "small"]
    assert found["ted - row above"]["small"].startswith("-0.100 [-0.200, +0.000]")


def test_what_is_decisive_alone_may_not_be_among_many(make_record: Make) -> None:
    """One row that is better by 2.2 standard errors, beside more and more that are exactly alike."""
    apart = np.random.default_rng(0).normal(size=60)
    apart = (apart - apart.mean()) / apart.std() + 2.2 / 60**0.5
    base = Bootstrap(60)
    samples = {"base": base.sample(np.zeros((1, 60)), "base"), "better": base.sample(apart[None], "better")}
    alike = {f"alike{number}": samples["base"] for number in range(9)}
    for others, decisive in (({}, True), (alike, False)):
        pairs = [Pair(name, "base") for name in ["better", *others]]
        found = compared(pairs, samples | others)[Pair("better", "base")]
        assert found.difference.decisive
        assert found.decisive is decisive


def test_rows_of_other_documents_are_not_compared(rows: list[Row], make_record: Make) -> None:
    rows = [*rows, Row((make_record("none", "receipts-mini"),))]
    found = samples_of(rows, teds(rows, small=DOCUMENTS[:-1]))
    assert set(found) == {"prune-distill", "none"}
    assert differences(rows[:2], {}) == {}


def test_without_the_documents_of_one_seed_a_row_is_not_compared(rows: list[Row]) -> None:
    known = teds(rows)
    del known[rows[0].records[1].cell]
    assert set(samples_of(rows, known)) == {"small"}


def test_the_order_of_documents_does_not_matter(rows: list[Row]) -> None:
    assert differences(rows, teds(rows)) == differences(rows, teds(rows, small=DOCUMENTS[::-1]))


OTHERS = ("prune-distill", "row above")


def test_f1_is_compared_as_a_whole_and_not_in_the_mean_of_documents(make_record: Make) -> None:
    rows = [Row((make_record(name, "receipts-mini"),)) for name in ("prune-distill", "small")]
    fields = {"prune-distill": [(1, 0, 0), (0, 9, 9)], "small": [(0, 1, 1), (9, 0, 0)]}
    counts = {row.records[0].cell: dict(zip("ab", fields[row.strategy], strict=True)) for row in rows}
    found = comparisons([rows], samples_of(rows, counts, micro_f1), "f1")["f1 - prune-distill"]["small"]
    assert found.difference.value == pytest.approx(0.9 - 0.1)


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
    assert "-0.200 [-0.271, -0.129] *" in text  # the row above is `small` there
    assert "[0.750, 0.750]" in text
    write_differences(tmp_path, records, *scores_of(tmp_path, records))
    frame = pd.read_csv(tmp_path / "tables" / "differences.csv")
    assert list(frame["comparison"]) == [f"{of} - {other}" for of in ("ted", "f1") for other in OTHERS]
    assert dict(frame.iloc[0][["strategy", "comparison", "value", "low", "high"]]) == {
        "strategy": "small", "comparison": "ted - prune-distill", "value": 0.2, "low": 0.129, "high": 0.271,
    }  # fmt: skip
    assert (frame["p"] <= frame["p_holm"]).all()


@pytest.mark.parametrize("harm", ["broken", "twice", "fewer", "other"])
def test_what_is_not_what_the_record_says_is_left_out(harm: str, make_record: Make, tmp_path: Path) -> None:
    record = scored(make_record("small", "receipts-mini"), 8, 0.5)
    names = {"twice": [*DOCUMENTS[:7], DOCUMENTS[0]], "fewer": DOCUMENTS[:7]}.get(harm, DOCUMENTS)
    path = predictions_path(tmp_path, record.cell)
    write_predictions(path, [prediction(name, 0.75 if harm == "other" else 0.5) for name in names])
    if harm == "broken":
        path.write_text("{")
    assert teds_of(tmp_path, [record]) == {}
