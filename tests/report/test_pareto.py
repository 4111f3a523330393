"""Score against cost: where each strategy lies, and what shares a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.report import write_report
from benchmark.report.drawing import Look
from benchmark.report.latency import latency_ratio
from benchmark.report.rows import Row, by_setting, efficiency
from benchmark.report.tradeoff import Line, _style, has_tradeoff, points, tradeoff_name

Make = Callable[..., Record]
MACS = efficiency("macs")


def costing(record: Record, macs: int | None, ted: float) -> Record:
    assert record.efficiency is not None
    assert record.metrics is not None
    costs = record.efficiency.model_copy(update={"macs": macs})
    return record.model_copy(update={"efficiency": costs, "metrics": record.metrics.model_copy(update={"ted": ted})})


def test_costs_are_shares_of_the_teachers_and_means_over_seeds(make_record: Make) -> None:
    teacher = Row((costing(make_record("teacher", "receipts-mini"), 200, 0.9),))
    seeds = [make_record("small", "receipts-mini", seed) for seed in (0, 1)]
    small = Row(
        tuple(costing(record, macs, ted) for record, macs, ted in zip(seeds, (50, 70), (0.4, 0.6), strict=True))
    )
    found = points([teacher, small], MACS)
    assert found[Line("teacher")] == [(1.0, 0.9)]
    ((cost, score),) = found[Line("small")]
    assert cost == pytest.approx(0.3)
    assert score == pytest.approx(0.5)


def test_the_ratio_of_latencies_is_one_already(make_record: Make) -> None:
    record = make_record("small", "receipts-mini")
    assert record.efficiency is not None
    ((cost, _),) = points([Row((make_record("teacher", "receipts-mini"),)), Row((record,))], latency_ratio)[
        Line("small")
    ]
    assert cost == record.efficiency.latency_ratio


def test_without_teacher_or_cost_there_is_no_point(make_record: Make) -> None:
    teacher = Row((costing(make_record("teacher", "receipts-mini"), 200, 0.9),))
    small = Row((costing(make_record("small", "receipts-mini"), 50, 0.4),))
    unknown = Row((costing(make_record("small", "receipts-mini"), None, 0.4),))
    assert points([small], MACS) == {}
    assert points([teacher, unknown], MACS) == {Line("teacher"): [(1.0, 0.9)]}
    assert not has_tradeoff([teacher])
    assert has_tradeoff([teacher, small])


def test_options_are_points_of_one_line(tmp_path: Path, make_record: Make) -> None:
    records = [make_record("teacher", "receipts-mini"), make_record("prune", "receipts-mini")]
    records += [make_record("prune", "receipts-mini", options={"target": target}) for target in ("0.5", "0.9")]
    for record in records:
        write_record(tmp_path, record)
    (figure,) = (path for path in write_report(tmp_path) if "tradeoff" in path.name and path.suffix == ".png")
    names = {tradeoff_name(setting) for setting in by_setting(records)}
    assert names == {figure.stem} == {"tradeoff-receipts-mini-tiny-paper-quick-100-cpu"}


def test_numbers_are_points_of_one_line_and_words_lines_of_their_own(make_record: Make) -> None:
    options = [{}, {"ratio": "2.0"}, {"allocation": "uniform"}, {"allocation": "uniform", "ratio": "2.0"}]
    records = [
        costing(make_record("prune", "receipts-mini", options=some), macs, 0.1 * macs)
        for macs, some in enumerate(options, start=1)
    ]
    rows = [Row((costing(make_record("teacher", "receipts-mini"), 10, 0.9),)), *(Row((r,)) for r in records)]
    found = {line.label: [cost for cost, _ in own] for line, own in points(rows, MACS).items()}
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
    assert len({tradeoff_name(setting) for setting in by_setting(records)}) == 3
