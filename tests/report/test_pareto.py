"""Score against cost as a figure: what is one line, what shares a figure, and where its names have room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.report import write_report
from benchmark.report.drawing import Look
from benchmark.report.fronts import planes
from benchmark.report.pareto import _reach, _style, _ticks, lines, pareto_name
from benchmark.report.rows import Row, by_setting

Make = Callable[..., Record]


def costing(record: Record, macs: int) -> Record:
    assert record.efficiency is not None
    return record.model_copy(update={"efficiency": record.efficiency.model_copy(update={"macs": macs})})


def test_options_are_points_of_one_line(tmp_path: Path, make_record: Make) -> None:
    records = [make_record("teacher", "receipts-mini"), make_record("prune", "receipts-mini")]
    records += [make_record("prune", "receipts-mini", options={"target": target}) for target in ("0.5", "0.9")]
    for record in records:
        write_record(tmp_path, record)
    (figure,) = (path for path in write_report(tmp_path) if "pareto" in path.name and path.suffix == ".png")
    names = {pareto_name(setting) for setting in by_setting(records)}
    assert names == {figure.stem} == {"pareto-receipts-mini-tiny-paper-quick-100-cpu"}


def test_numbers_are_points_of_one_line_and_words_lines_of_their_own(make_record: Make) -> None:
    options = [{}, {"ratio": "2.0"}, {"allocation": "uniform"}, {"allocation": "uniform", "ratio": "2.0"}]
    records = [
        costing(make_record("prune", "receipts-mini", options=some), macs) for macs, some in enumerate(options, start=1)
    ]
    rows = [Row((costing(make_record("teacher", "receipts-mini"), 10),)), *(Row((r,)) for r in records)]
    points = planes(rows, {})["multiply-accumulates"].points
    found = {line.label: [point.cost.value for point in own] for line, own in lines(points).items()}
    assert found == {"teacher": [1.0], "prune": [0.1, 0.2], "prune allocation=uniform": [0.3, 0.4]}


def test_variants_of_a_strategy_look_like_it_and_not_like_each_other() -> None:
    look = Look("#000000", "o", "-")
    plain, *variants = (_style(look, number, points=2) for number in (None, 0, 1, 2))
    assert {style["color"] for style in (plain, *variants)} == {"#000000"}
    assert len({(style["marker"], style["linestyle"]) for style in variants}) == 3
    assert "markerfacecolor" not in plain
    assert {style["markerfacecolor"] for style in variants} == {"none"}
    assert _style(look, 1, points=1)["linestyle"] == "none"


def test_what_cannot_be_compared_has_a_figure_of_its_own(make_record: Make) -> None:
    records = [make_record("teacher", "receipts-mini"), make_record("teacher", "receipts-mini", protocol="task")]
    records.append(make_record("teacher", "receipts-mini", limit=4))
    assert len({pareto_name(setting) for setting in by_setting(records)}) == 3


def test_there_is_room_for_the_names_of_the_front(make_record: Make) -> None:
    rows = [Row((make_record(name, "receipts-mini"),)) for name in ("teacher", "prune")]
    points = planes(rows, {})["nonzero weights"].points
    low, high = _reach(points, [])
    assert low < 0.262 < 1 < high
    far, same = _reach(points, [(0.262, 40)])
    assert far < low
    assert same == high


def test_ticks_are_powers_of_two_or_tenths() -> None:
    assert _ticks(0.1, 1.1) == {1.0: "1", 0.5: "1/2", 0.25: "1/4", 0.125: "1/8"}
    assert list(_ticks(0.45, 1.1).values()) == ["0.5", "0.6", "0.7", "0.8", "0.9", "1"]


def test_the_names_of_the_front_and_no_others_stand_in_the_panels(tmp_path: Path, make_record: Make) -> None:
    for name in ("teacher", "small", "prune"):
        write_record(tmp_path, make_record(name, "receipts-mini"))
    (figure,) = (path for path in write_report(tmp_path) if "pareto" in path.name and path.suffix == ".svg")
    text = figure.read_text(encoding="utf-8")
    assert [text.count(f">{name}</text>") for name in ("teacher", "small", "prune")] == [1 + 4, 1 + 3, 1]
