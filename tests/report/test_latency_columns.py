"""Latency is a ratio to the teacher's first, with the interval of what was timed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import pytest
from rich.console import Console

from benchmark.cli.board import print_leaderboard
from benchmark.records.record import Record
from benchmark.report import leaderboard_frame
from benchmark.report.card import model_card
from benchmark.report.fronts import COSTS, has_front, shares
from benchmark.report.latency import RATIO, not_faster, told
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.readme import summary_markdown
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


MISSES = {"latency_control": 1.1, "latency_control_low": 1.02, "latency_control_high": 1.19}
WHY = "No speed-up is told of what was timed where the teacher against itself misses 1: 1.10 [1.02, 1.19]."


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 1.1, True),
        (1.0, 1.1, True),
        (0.9, 1.0, True),
        (1.001, 1.1, False),
        (0.9, 0.999, False),
        (None, None, True),
    ],
)
def test_a_ratio_is_told_where_the_control_holds_1(
    make_record: Make, low: float | None, high: float | None, expected: bool
) -> None:
    costs = timed(make_record("small", "receipts-mini"), latency_control_low=low, latency_control_high=high).efficiency
    assert costs is not None
    assert told(costs) is expected


def test_no_speed_up_is_printed_anywhere_where_the_control_misses_1(records: list[Record]) -> None:
    missed = [timed(record, **MISSES) for record in records]
    board = io.StringIO()
    print_leaderboard(missed, Console(file=board, width=200))
    for text in (leaderboard_markdown(missed), summary_markdown(missed, "reports"), board.getvalue()):
        assert "0.54 [" not in text
        assert "not told" in text
        assert WHY in text
        assert "51.25" in text or text == board.getvalue(), "the milliseconds are"
    assert all("0.54 [" not in model_card(record, None) for record in missed)
    assert any("0.54 [" in model_card(record, None) for record in records)


def test_no_speed_up_is_drawn_where_the_control_misses_1(make_record: Make) -> None:
    sound = [Row((make_record(name, "receipts-mini"),)) for name in ("teacher", "small")]
    missed = [Row((timed(record, **MISSES),)) for row in sound for record in row.records]
    assert all(shares(sound, COSTS["latency"]))
    assert not any(shares(missed, COSTS["latency"]))
    assert has_front(missed), "its other costs are told"


def test_one_timing_that_misses_1_takes_the_ratio_of_its_row(make_record: Make) -> None:
    row = seeds(make_record, {}, MISSES)
    assert RATIO.text(row) == "not told"
    assert RATIO.fields(row) == (None, None, None)


@pytest.mark.parametrize(
    ("density", "ratio", "expected"),
    [
        (0.26, (1.0, 0.99, 1.01), True),
        (0.26, (1.2, 1.1, 1.3), True),
        (0.26, (0.98, 0.95, 1.0), True),
        (0.26, (0.6, 0.5, 0.7), False),
        (0.99, (1.0, 0.99, 1.01), False),
        (0.26, (1.0, None, None), True),
        (0.26, (0.9, None, None), False),
    ],
)
def test_sparse_and_not_faster(
    make_record: Make, density: float, ratio: tuple[float | None, ...], expected: bool
) -> None:
    names = ("latency_ratio", "latency_ratio_low", "latency_ratio_high")
    row = seeds(make_record, {"density": density, **dict(zip(names, ratio, strict=True))})
    assert not_faster(row) is expected


def test_what_is_not_told_is_not_flagged(make_record: Make) -> None:
    assert not not_faster(seeds(make_record, {"density": 0.26, "latency_ratio": 1.2, **MISSES}))
    assert not not_faster(seeds(make_record, {"density": 0.26, **UNKNOWN}))


def test_the_leaderboard_flags_what_is_sparse_and_not_faster(records: list[Record]) -> None:
    frame = leaderboard_frame(records, "receipts-mini").set_index("strategy")
    flagged = {str(name).split(" ")[0] for name in frame.index[frame["flag"] == "sparse, not faster"]}
    assert flagged == {"prune", "prune-distill", "prune-finetune", "random-prune"}
    dense = [record for record in records if record.strategy in ("teacher", "small", "none")]
    assert "flag" not in leaderboard_frame(dense, "receipts-mini").columns


def test_what_was_timed_elsewhere_is_named(records: list[Record]) -> None:
    """Records of two machines may lie in one folder; each is timed beside the teacher of its own."""
    assert "Timed on" not in leaderboard_markdown(records)
    both = [
        record.model_copy(update={"environment": {"device": "Other" if record.strategy == "small" else "One"}})
        for record in records
    ]
    told = "Timed on One, but small on Other, beside the teacher there: what is fast on one may not be on the other."
    assert told in leaderboard_markdown(both)
    assert told in summary_markdown(both, "reports")
