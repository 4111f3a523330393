"""The calibration axis: what other documents to look at change, and that nothing else is told of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from statistics import stdev

import pytest

from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.report import write_report
from benchmark.report.calibration import write_calibration
from benchmark.report.leaderboard import leaderboard_frame, leaderboard_markdown
from benchmark.report.readme import summary_markdown
from benchmark.report.tables import all_records_csv

Make = Callable[..., Record]
TEDS = {"": 0.9, "1": 0.88, "2": 0.91, "3": 0.93}
"""By draw; the first set has none."""


def scored(record: Record, ted: float) -> Record:
    assert record.metrics is not None
    return record.model_copy(update={"metrics": record.metrics.model_copy(update={"ted": ted})})


@pytest.fixture
def draw(make_record: Make) -> Callable[..., Record]:
    def make(number: str, seed: int = 0, ted: float | None = None, **changes: object) -> Record:
        """As `--sweep draw=NUMBER` makes it."""
        options = {**({"draw": number} if number else {}), **changes.pop("options", {})}  # type: ignore[dict-item]
        known = {"protocol": "task", "options": options, "calibration_hash": f"{seed}{number}"}
        record = make_record(
            "random-prune", "receipts-mini", seed, **{**known, "model_hash": f"{number} {seed}", **changes}
        )
        return scored(record, TEDS[number] if ted is None else ted)

    return make


@pytest.fixture
def plain(make_record: Make, draw: Make) -> list[Record]:
    """A run of three seeds with the first set of each."""
    others = [
        make_record(name, "receipts-mini", seed, protocol="task")
        for name in ("teacher", "prune-distill")
        for seed in (0, 1, 2)
    ]
    return [*others, draw(""), draw("", 1, 0.86), draw("", 2, 0.94)]


@pytest.fixture
def swept(plain: list[Record], draw: Make) -> list[Record]:
    """The same with three more sets of the first seed."""
    return [*plain, *(draw(number) for number in ("1", "2", "3"))]


def table(directory: Path, records: list[Record]) -> list[dict[str, str]]:
    paths = write_calibration(directory, records)
    assert [path.name for path in paths] == ["calibration.csv", "calibration.md"]
    return list(csv.DictReader(io.StringIO(paths[0].read_text())))


def test_sets_stand_beside_seeds(swept: list[Record], tmp_path: Path) -> None:
    (line,) = table(tmp_path, swept)
    assert (line["strategy"], line["seed"], line["sets"], line["seeds"]) == ("random-prune", "0", "4", "3")
    assert (line["dataset"], line["protocol"], line["options"]) == ("receipts-mini", "task", "")
    assert line["ted_mean"] == "0.905"
    assert line["ted_std_sets"] == f"{stdev(TEDS.values()):.3f}" == "0.021"
    assert (line["ted_lowest"], line["ted_highest"]) == ("0.880", "0.930")
    assert line["ted_std_seeds"] == f"{stdev([0.9, 0.86, 0.94]):.3f}" == "0.040"
    text = (tmp_path / "tables" / "calibration.md").read_text()
    assert "## receipts-mini, scale tiny, protocol task, budget quick, 100 test documents" in text
    assert "| random-prune |      0 |      4 | 0.905 |" in text


def test_one_seed_has_no_spread_of_its_own(draw: Make, tmp_path: Path) -> None:
    (line,) = table(tmp_path, [draw(""), draw("1")])
    assert (line["sets"], line["ted_std_seeds"], line["seeds"]) == ("2", "", "1")


def test_each_seed_has_its_own_line(draw: Make, tmp_path: Path) -> None:
    records = [draw(number, seed) for seed in (0, 1) for number in ("", "1")]
    assert [line["seed"] for line in table(tmp_path, records)] == ["0", "1"]


def test_without_the_first_set_there_is_nothing_of_seeds(draw: Make, tmp_path: Path) -> None:
    (line,) = table(tmp_path, [draw("1"), draw("2")])
    assert (line["sets"], line["ted_mean"], line["seeds"]) == ("2", "0.895", "0")


def test_other_options_are_another_setting(draw: Make, swept: list[Record], tmp_path: Path) -> None:
    half = [draw(number, options={"target": "half"}) for number in ("", "1")]
    lines = table(tmp_path, [*swept, *half])
    assert [(line["options"], line["sets"]) for line in lines] == [("", "4"), ('{"target": "half"}', "2")]


def test_the_same_documents_again_are_no_other_set(draw: Make, tmp_path: Path) -> None:
    """A training split of few documents begins again."""
    assert write_calibration(tmp_path, [draw(""), draw("1", calibration_hash="0")]) == []
    assert not (tmp_path / "tables").exists()


def test_sets_that_give_the_same_model_count(draw: Make, tmp_path: Path) -> None:
    (line,) = table(tmp_path, [draw("", model_hash="a"), draw("1", ted=0.9, model_hash="a")])
    assert (line["sets"], line["ted_std_sets"]) == ("2", "0.000")


def test_what_looks_at_nothing_has_no_sets(plain: list[Record], make_record: Make, tmp_path: Path) -> None:
    unused = [make_record("prune", "receipts-mini", protocol="task", options={"draw": "1"})]
    assert write_calibration(tmp_path, [*plain, *unused]) == []


def test_the_leaderboard_tells_of_both_and_of_nothing_else(swept: list[Record], plain: list[Record]) -> None:
    told = "- random-prune, seed 0: 0.905 ± 0.021 over 4 sets (0.880 to 0.930), ± 0.040 over 3 seeds.\n\n"
    before, after = leaderboard_markdown(plain), leaderboard_markdown(swept)
    head, found, tail = after.partition("What other calibration documents change of ted")
    assert found
    _, found, rest = tail.partition(told)
    assert found
    assert head + rest == before


def test_nothing_else_of_the_report_changes(plain: list[Record], swept: list[Record], tmp_path: Path) -> None:
    """Byte by byte: tables, fronts, figures, of which a sweep would otherwise have lines and points."""
    for name, records in (("plain", plain), ("swept", swept)):
        for record in records:
            write_record(tmp_path / name, record)
        write_report(tmp_path / name)
    one, other = (
        {p.relative_to(tmp_path / name): p for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("plain", "swept")
    )
    changed = {
        str(name)
        for name in one | other
        if "results" not in name.parts and (name not in one or one[name].read_bytes() != other[name].read_bytes())
    }
    assert changed == {"leaderboard.md", "tables/all.csv", "tables/calibration.md", "tables/calibration.csv"}


def test_every_record_stays_in_the_table_of_all(swept: list[Record]) -> None:
    lines = list(csv.DictReader(io.StringIO(all_records_csv(swept))))
    assert len(lines) == len(swept)
    assert sum("draw" in line["options"] for line in lines) == 3


def test_boards_and_summaries_are_of_the_first_set(plain: list[Record], swept: list[Record]) -> None:
    assert leaderboard_frame(swept, "receipts-mini").equals(leaderboard_frame(plain, "receipts-mini"))
    assert summary_markdown(swept, "here") == summary_markdown(plain, "here")


def test_what_failed_or_stands_alone_keeps_its_section(draw: Make, failed: Callable[[Record, str], Record]) -> None:
    """Else it would be told of nowhere."""
    text = leaderboard_markdown([draw(""), failed(draw("1"), "ValueError: too few")])
    assert "budget quick, draw=1" in text
    assert "ValueError: too few" in text
    assert "budget quick, draw=2" in leaderboard_markdown([draw("2")])
    assert "budget quick, draw=2" in leaderboard_markdown([failed(draw(""), "ValueError"), draw("2")])
    assert "budget quick, draw=2" in leaderboard_markdown([draw(""), draw("2", seed=1)])
