"""Latency is a ratio to the teacher's first, with the interval of what was timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmark.records.record import Record
from benchmark.report import leaderboard_frame
from benchmark.report.latency import RATIO
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.rows import Row

Make = Callable[..., Record]
UNKNOWN = dict.fromkeys(
    ("latency_ratio", "latency_ratio_low", "latency_ratio_high", "latency_control", "computation"), None
)


def timed(record: Record, **changes: object) -> Record:
    assert record.efficiency is not None
    return record.model_copy(update={"efficiency": record.efficiency.model_copy(update=changes)})


def seeds(make_record: Make, *changes: Mapping[str, object]) -> Row:
    records = (timed(make_record("small", "receipts-mini", seed), **change) for seed, change in enumerate(changes))
    return Row(tuple(records))


def test_the_ratio_comes_before_the_milliseconds(records: list[Record]) -> None:
    frame = leaderboard_frame(records, "receipts-mini").set_index("strategy")
    columns = list(frame.columns)
    assert columns.index("latency p50 (ms)") - columns.index("latency (x teacher)") == 1
    assert frame.loc["small", "latency (x teacher)"] == "0.54 [0.53, 0.55]"
    assert frame.loc["none", "latency (x teacher)"] == "1.00 [0.99, 1.01]"


def test_the_interval_holds_those_of_all_seeds(make_record: Make) -> None:
    first = {"latency_ratio": 0.5, "latency_ratio_low": 0.48, "latency_ratio_high": 0.51}
    second = {"latency_ratio": 0.6, "latency_ratio_low": 0.59, "latency_ratio_high": 0.63}
    assert RATIO.text(seeds(make_record, first, second)) == "0.55 [0.48, 0.63]"
    assert RATIO.text(seeds(make_record, first, first)) == "0.50 [0.48, 0.51]"
    assert RATIO.fields(seeds(make_record, first, second)) == (0.55, 0.48, 0.63)


def test_a_ratio_without_interval_stands_alone(make_record: Make) -> None:
    assert RATIO.text(seeds(make_record, {"latency_ratio_low": None, "latency_ratio_high": None})) == "0.54"


def test_old_records_have_milliseconds_only(make_record: Make) -> None:
    record = timed(make_record("small", "receipts-mini"), **UNKNOWN)
    [line] = leaderboard_frame([record], "receipts-mini").to_dict("records")
    assert (line["latency (x teacher)"], line["latency p50 (ms)"]) == ("", "51.250")
    assert "timed against itself" not in leaderboard_markdown([record])


def test_the_control_is_said_once_a_section(records: list[Record]) -> None:
    text = leaderboard_markdown(records)
    assert text.count("\n\nThe teacher timed against itself: 1.00 [0.99, 1.01].\n") == text.count("\n## ") == 3


def test_controls_of_several_timings_are_all_said(make_record: Make) -> None:
    later = timed(make_record("none", "receipts-mini"), latency_control=1.1, latency_control_low=None)
    text = leaderboard_markdown([make_record("small", "receipts-mini"), later])
    assert "The teacher timed against itself: 1.00 [0.99, 1.01], 1.10." in text
