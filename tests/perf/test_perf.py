"""The comparisons of `perf`: both ways give the same, and ratios are those of a given clock. Nothing is timed."""

from __future__ import annotations

import json
import math
from itertools import count

import pytest

from benchmark.cli import main
from benchmark.metrics.ted import ted_document
from benchmark.perf.comparison import Clock, compare_times
from benchmark.perf.distances import CHARACTERS, ITEMS, long_receipts, long_text
from benchmark.types import Dataset

zss = pytest.importorskip("zss")
nltk = pytest.importorskip("nltk")


def charging(costs: dict[str, float], seconds: list[float]) -> dict[str, object]:
    """Ways that take so many seconds of the clock that reads `seconds`."""

    def way(name: str) -> object:
        def call() -> str:
            seconds[0] += costs[name]
            return "result"

        return call

    return {name: way(name) for name in costs}


def compared(costs: dict[str, float], repeats: int = 7) -> list[float]:
    seconds = [0.0]
    clock: Clock = lambda: seconds[0]  # noqa: E731
    ways = charging(costs, seconds)
    other = ways.pop("other")
    found = compare_times("n", "d", ways, ("o", other), repeats, clock)  # type: ignore[arg-type]
    assert all(row.same for row in found)
    for row in found:
        assert row.ratio.value == pytest.approx(row.alternative / row.ours)
    return [row.ratio.value for row in found]


def test_ratios_are_those_of_the_clock_for_short_and_long_ways() -> None:
    assert compared({"short": 1e-4, "long": 0.5, "other": 2.0}) == pytest.approx([20_000, 4])


def test_different_results_are_told_apart() -> None:
    ticks = count()
    (row,) = compare_times("n", "d", {"o": lambda: 1}, ("a", lambda: 2), 1, lambda: next(ticks))
    assert not row.same
    assert row.ratio.low is None


def test_the_documents_are_as_large_as_is_said(datasets: dict[str, Dataset]) -> None:
    receipts = long_receipts(datasets["receipts-mini"], 3)
    assert [len(receipt["menu"]) for receipt in receipts] == [ITEMS] * 3
    assert receipts == long_receipts(datasets["receipts-mini"], 3)
    text = long_text(datasets["synthdog-mini"])["text_sequence"]
    assert len(text) == len(text.strip()) == CHARACTERS


def test_the_alternative_has_a_longest_text_and_ours_has_none() -> None:
    text = "the quick brown fox " * 500
    assert len(text) == 10_000
    assert ted_document({"text_sequence": text[4:]}, {"text_sequence": text}).distance == 4
    assert ted_document({"b": text[4:], "c": "x"}, {"b": text, "c": "y"}).distance == 5


def test_all_comparisons_give_the_same_result_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "--json", "--repeats", "1", "--documents", "2"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    rows = found["comparisons"]
    assert {row["name"] for row in rows} == {
        "TED",
        "reading TED",
        "batched decoding",
        "evaluation",
        "packed weights",
    }
    assert all(row["same"] for row in rows)
    assert all(math.isfinite(row["ratio"]["value"]) and row["ratio"]["value"] > 0 for row in rows)
    (packed,) = [row for row in rows if row["unit"] == "bytes"]
    # A quarter of the weights is kept, and each has a bit more.
    assert 2 < packed["alternative"] / packed["ours"] < 4


def test_what_is_missing_is_a_line(monkeypatch: pytest.MonkeyPatch, datasets: dict[str, Dataset]) -> None:
    from benchmark.perf import distances

    monkeypatch.setattr(distances, "find_spec", lambda name: None)
    found = distances.compare(datasets["receipts-mini"], datasets["synthdog-mini"], 1)
    (line,) = map(str, found)
    assert line.endswith("pip install 'donutbench[perf]' brings what is missing")
