"""The table of claimed and real costs: shares of the teacher's, times with intervals, and nothing invented."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.record import Interval, Part, Record, Timing
from benchmark.report.costs import costs_csv, costs_markdown, write_costs
from benchmark.report.rows import by_setting
from benchmark.report.tables import all_records_csv

Make = Callable[..., Record]
CONTROL = {"latency_control": 1.1, "latency_control_low": 1.02, "latency_control_high": 1.19}


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.5, high=value + 0.5)


def with_costs(record: Record, **changes: object) -> Record:
    assert record.efficiency is not None
    return record.model_copy(update={"efficiency": record.efficiency.model_copy(update=changes)})


@pytest.fixture
def timed(make_record: Make) -> list[Record]:
    """The teacher, and two others that take half of it."""
    found = []
    for name in ("teacher", "small", "prune"):
        half = 1.0 if name == "teacher" else 0.5
        parts: dict[Part, float] = {"whole": 80.0, "encoder": 10.0, "first_token": 12.0, "per_token": 2.0}
        timings: dict[Part, Timing] = {
            part: Timing(p50=interval(half * time), p95=interval(2 * half * time), ratio=interval(half))
            for part, time in parts.items()
        }
        macs = 100 if name != "small" else 40
        record = make_record(name, "receipts-mini")
        found.append(with_costs(record, timings=timings, macs=macs, peak_resident_bytes=round(123_400_000 * half)))
    return found


def table(records: list[Record]) -> dict[str, dict[str, str]]:
    lines = [line for line in costs_markdown(by_setting(records)).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def fields(records: list[Record]) -> dict[str, dict[str, str]]:
    return {row["strategy"]: row for row in csv.DictReader(io.StringIO(costs_csv(by_setting(records))))}


def test_claimed_stands_beside_real(timed: list[Record]) -> None:
    small, prune = table(timed)["small"], table(timed)["prune"]
    assert (small["sparsity"], small["MACs (x teacher)"]) == ("0.000", "0.400")
    assert (prune["sparsity"], prune["MACs (x teacher)"]) == ("0.738", "1.000")
    # (4 (265144 + 61000) + 126500) / (4 (1012000 + 61000) + 126500) bytes
    assert prune["packed file (x teacher)"] == f"{1_431_076 / 4_418_500:.3f}"
    assert prune["latency (x teacher)"] == "1.00 [0.99, 1.01]"
    assert (small["flag"], prune["flag"]) == ("", "sparse, not faster")


def test_the_parts_of_a_reading_stand_apart(timed: list[Record]) -> None:
    small = table(timed)["small"]
    assert (small["whole p50 (ms)"], small["whole p95 (ms)"]) == ("40.0 [39.5, 40.5]", "80.0 [79.5, 80.5]")
    assert (small["encoder p50 (ms)"], small["encoder (x teacher)"]) == ("5.0 [4.5, 5.5]", "0.50 [0.00, 1.00]")
    assert (small["first token p50 (ms)"], small["first token p95 (ms)"]) == ("6.0 [5.5, 6.5]", "12.0 [11.5, 12.5]")
    assert (small["per token p50 (ms)"], small["per token (x teacher)"]) == ("1.0 [0.5, 1.5]", "0.50 [0.00, 1.00]")
    assert (small["peak tensors (MB)"], small["peak resident (MB)"]) == ("310.0", "61.7")


def test_no_ratio_is_told_where_the_control_misses_1(timed: list[Record]) -> None:
    missed = [with_costs(record, **CONTROL) for record in timed]
    row = table(missed)["small"]
    assert {cell for heading, cell in row.items() if heading.endswith("token (x teacher)")} == {"not told"}
    assert row["latency (x teacher)"] == row["encoder (x teacher)"] == "not told"
    assert row["encoder p50 (ms)"] == "5.0 [4.5, 5.5]"
    assert "misses 1: 1.10 [1.02, 1.19]." in costs_markdown(by_setting(missed))
    line = fields(missed)["small"]
    assert line["encoder_ratio_measured"] == line["latency_ratio_measured"] == ""
    assert line["encoder_ms_p50_measured"] == "5.0"


def test_energy_is_printed_where_it_was_counted(timed: list[Record]) -> None:
    assert "Energy: not measured (no counter on this machine)." in costs_markdown(by_setting(timed))
    assert "energy (mJ)" not in table(timed)["small"]
    counted = [with_costs(record, energy_mj=Interval(value=812.5, low=800, high=830)) for record in timed]
    assert table(counted)["small"]["energy (mJ)"] == "812.5 [800.0, 830.0]"
    assert "not measured" not in costs_markdown(by_setting(counted))


def test_old_records_have_what_they_have(make_record: Make) -> None:
    rows = table([make_record(name, "receipts-mini") for name in ("teacher", "small")])
    assert rows["small"]["latency (x teacher)"] == "0.54 [0.53, 0.55]"
    assert not any("token" in heading for heading in rows["small"])
    assert "peak resident (MB)" not in rows["small"]


def test_without_a_teacher_there_are_no_shares(timed: list[Record]) -> None:
    small = table(timed[1:])["small"]
    assert "MACs (x teacher)" not in small
    assert small["sparsity"] == "0.000"


def test_all_csv_has_every_time(timed: list[Record]) -> None:
    lines = {line["strategy"]: line for line in csv.DictReader(io.StringIO(all_records_csv(timed)))}
    small = lines["small"]
    assert (small["per_token_p50"], small["per_token_p50_low"], small["per_token_p50_high"]) == ("1.0", "0.5", "1.5")
    assert (small["whole_p95"], small["first_token_ratio"], small["energy_mj"]) == ("80.0", "0.5", "")
    assert "timings" not in small


def test_both_files_are_written(timed: list[Record], tmp_path: Path) -> None:
    paths = write_costs(tmp_path, timed)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["tables/costs.csv", "tables/costs.md"]
    assert all(path.stat().st_size for path in paths)
