"""Shares of the teacher's cost, where rows lie against them, and the tables of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmark.metrics.front import Estimate
from benchmark.records.record import Record
from benchmark.report.fronts import COSTS, families, has_front, has_standings, label, planes, shares, write_fronts
from benchmark.report.latency import latency_ratio
from benchmark.report.rows import Row, efficiency

Make = Callable[..., Record]
MACS = efficiency("macs")
DOCUMENTS = [f"doc{number}" for number in range(40)]


def sized(record: Record, **changes: object) -> Record:
    assert record.efficiency is not None
    return record.model_copy(update={"efficiency": record.efficiency.model_copy(update=changes)})


def scored(record: Record, ted: float) -> Record:
    assert record.metrics is not None
    return record.model_copy(update={"metrics": record.metrics.model_copy(update={"ted": ted})})


def teds(records: list[Record]) -> dict[str, dict[str, float]]:
    """Half of the documents 0.1 above the mean, half of them below."""
    found = {}
    for record in records:
        assert record.metrics is not None
        ted = record.metrics.ted
        found[record.cell] = {name: ted + 0.1 * (-1) ** place for place, name in enumerate(DOCUMENTS)}
    return found


@pytest.fixture
def rows(make_record: Make) -> list[Record]:
    return [make_record(name, "receipts-mini") for name in ("teacher", "small", "prune-distill", "random-prune")]


def test_costs_are_shares_of_the_teachers_and_means_over_seeds(make_record: Make) -> None:
    teacher = sized(make_record("teacher", "receipts-mini"), macs=200)
    seeds = [sized(make_record("small", "receipts-mini", seed), macs=macs) for seed, macs in enumerate((50, 70))]
    assert shares([Row((teacher,)), Row(tuple(seeds))], MACS) == [Estimate(1, 1, 1), Estimate(0.3, 0.3, 0.3)]


def test_a_weight_that_happens_to_be_zero_makes_nothing_cheaper(make_record: Make) -> None:
    rows = [make_record("teacher", "receipts-mini"), make_record("none", "receipts-mini")]
    found = [Row((sized(record, params_nonzero=1_000_000 - place),)) for place, record in enumerate(rows)]
    assert len(set(shares(found, efficiency("params_nonzero")))) == 1


def test_what_computes_the_same_has_one_latency_that_of_the_first(make_record: Make) -> None:
    teacher = make_record("teacher", "receipts-mini")
    again = sized(make_record("prune", "receipts-mini"), latency_ratio=1.04)
    other = sized(make_record("none", "receipts-mini"), latency_ratio=1.04, computation="other")
    found = shares([Row((record,)) for record in (teacher, again, other)], latency_ratio)
    assert found == [Estimate(1.0, 0.992, 1.008)] * 2 + [Estimate(1.04, 0.992, 1.008)]


def test_without_teacher_or_cost_there_is_no_share(make_record: Make) -> None:
    teacher, small = (Row((make_record(name, "receipts-mini"),)) for name in ("teacher", "small"))
    unknown = Row((sized(make_record("small", "receipts-mini"), macs=None, latency_ratio=None),))
    assert shares([small], MACS) == [None]
    assert shares([teacher, unknown], MACS)[1] is None
    assert shares([teacher, unknown], latency_ratio)[1] is None
    assert not has_front([teacher])
    assert not has_front([small])
    assert has_front([teacher, small])


def test_the_teacher_is_in_a_family_once(rows: list[Record], make_record: Make) -> None:
    variants = [make_record("prune-distill", "receipts-mini", options={"target": t}) for t in ("0.5", "0.9")]
    (found,) = families([*rows, *variants]).values()
    assert sorted(map(label, found)) == sorted(
        ["teacher", "small", "prune-distill", "random-prune", "prune-distill target=0.5", "prune-distill target=0.9"]
    )


def test_standings_are_those_of_the_documents(rows: list[Record]) -> None:
    (family,) = families(rows).values()
    plane = planes(family, teds(rows))["nonzero weights"]
    found = {point.row.strategy: point.standing for point in plane.points}
    assert {name: own.undominated for name, own in found.items() if own} == {
        "teacher": 1.0,
        "small": 1.0,
        "prune-distill": 1.0,
        "random-prune": 0.0,
    }
    beaten = found["random-prune"]
    assert beaten is not None
    assert beaten.dominator is not None
    assert plane.points[beaten.dominator].row.strategy in {"small", "prune-distill"}
    assert [plane.points[place].row.strategy for place in plane.front] == ["small", "prune-distill", "teacher"]


@pytest.mark.parametrize("known", [{}, {"another cell": {"doc": 0.5}}])
def test_without_documents_there_are_points_and_no_standings(
    known: dict[str, dict[str, float]], rows: list[Record], tmp_path: Path
) -> None:
    (family,) = families(rows).values()
    assert not has_standings(family, known)
    for plane in planes(family, known).values():
        assert len(plane.points) == 4
        assert {point.standing for point in plane.points} == {None}
        assert plane.hypervolume is None
    assert write_fronts(tmp_path, rows, known) == []
    assert not list(tmp_path.iterdir())


def test_a_row_that_lacks_its_documents_is_no_dominator(rows: list[Record]) -> None:
    (family,) = families(rows).values()
    known = teds(rows)
    del known[rows[2].cell]
    points = {point.row.strategy: point for point in planes(family, known)["packed bytes"].points}
    assert points["prune-distill"].standing is None
    assert points["prune-distill"].score.low == points["prune-distill"].score.high
    assert points["random-prune"].standing
    assert points["teacher"].score.low < points["teacher"].score.value < points["teacher"].score.high


def test_the_tables_have_each_row_against_each_cost(rows: list[Record], tmp_path: Path) -> None:
    csv, text = write_fronts(tmp_path, rows, teds(rows))
    assert [path.relative_to(tmp_path).as_posix() for path in (csv, text)] == ["tables/front.csv", "tables/front.md"]
    frame = pd.read_csv(csv).set_index("row")
    assert list(frame.index) == ["teacher", "prune-distill", "small", "random-prune"]
    assert frame["params_nonzero"].to_dict() == {
        "teacher": 1.0,
        "prune-distill": 0.262,
        "small": 0.26,
        "random-prune": 0.262,
    }
    assert frame.loc["random-prune", "macs_dominator"] == "teacher"
    assert frame.loc["random-prune", "macs_dominated"] == 1.0
    assert frame.loc["small", "latency_ratio_low"] == 0.531
    page = text.read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("| random-prune")]
    assert "0.00 (teacher 1.00)" in line
    assert page.count("Hypervolume: nonzero weights ") == 1
    assert all(f"{cost} (x teacher)" in page for cost in COSTS)


def test_a_worse_row_of_the_same_cost_is_as_often_on_the_front_as_it_is_better(make_record: Make) -> None:
    """Two rows that differ on documents by as much to either side: each is on the front half of the time."""
    records = [make_record(name, "receipts-mini") for name in ("teacher", "prune-distill", "prune-finetune")]
    records = [scored(record, 0.5) for record in records]
    known = teds(records)
    known[records[2].cell] = {name: 1.0 - ted for name, ted in known[records[2].cell].items()}
    (family,) = families(records).values()
    found = {p.row.strategy: p.standing for p in planes(family, known)["packed bytes"].points}
    for name in ("prune-distill", "prune-finetune"):
        own = found[name]
        assert own is not None
        assert own.undominated == pytest.approx(0.5, abs=0.1)
