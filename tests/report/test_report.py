"""The leaderboard, the figures and the report as a whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image, ImageColor

from benchmark.errors import UserError
from benchmark.report import leaderboard_frame, write_report
from benchmark.report.figures import _COLOURS, mean_curve
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.rows import Row, by_setting
from benchmark.results import Record, read_records, write_record

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]

DATASETS = {"synthdog-mini": "SynthDog-EN", "receipts-mini": "CORD-v2", "parcels-mini": "Parcel Reader"}
ON_READING = [
    "teacher (reference)",
    "dense-finetune",
    "prune-distill",
    "none",
    "prune-finetune",
    "distill",
    "small",
    "random-prune",
    "prune",
]


def contents(directory: Path) -> dict[str, bytes]:
    paths = [path for path in directory.rglob("*") if path.is_file() and path.parent.name != "results"]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def test_the_reference_comes_first_unranked_then_the_best(records: list[Record]) -> None:
    frame = leaderboard_frame(records, "synthdog-mini")
    assert list(frame["strategy"]) == ON_READING
    assert list(frame["rank"]) == ["", "1", "2", "3", "4", "5", "6", "7", "8"]
    row = frame.iloc[2]
    assert (row["ted"], row["f1"], row["density"], row["MACs (M)"]) == ("0.884", "0.442", "0.262", "41.250")
    assert (row["packed (MB)"], row["latency p50 (ms)"], row["documents trained on"]) == ("1.431", "51.250", "3200")


def test_equal_scores_share_a_rank(make_record: Make) -> None:
    best = make_record("none", "synthdog-mini")
    same = [best.model_copy(update={"strategy": name}) for name in ("a", "b")]
    frame = leaderboard_frame([make_record("small", "synthdog-mini"), *same], "synthdog-mini")
    assert list(zip(frame["strategy"], frame["rank"], strict=True)) == [
        ("a", "1"),
        ("b", "1"),
        ("small", "3"),
    ]


def test_a_failed_row_comes_last_without_a_rank(records: list[Record], failed: Fail) -> None:
    rows = [*records[:8], failed(records[8], "boom")]
    last = leaderboard_frame(rows, "synthdog-mini").iloc[-1]
    assert (last["strategy"], last["rank"], last["ted"], last["documents trained on"]) == (
        "dense-finetune",
        "",
        "failed",
        "failed",
    )
    assert "- dense-finetune, seed 0: `boom`" in leaderboard_markdown(rows)


def test_settings_are_ranked_apart(make_record: Make) -> None:
    rows = [make_record("small", "synthdog-mini", budget=budget) for budget in ("quick", "full")]
    frame = leaderboard_frame(rows, "synthdog-mini")
    assert list(frame["budget"]) == ["full", "quick"]
    assert list(frame["rank"]) == ["1", "1"]


def test_an_unknown_data_set_is_named(records: list[Record]) -> None:
    with pytest.raises(UserError, match="no records of the data set 'cord'"):
        leaderboard_frame(records, "cord")


def test_the_head_says_what_was_measured_and_how_far_to_trust_it(records: list[Record], make_record: Make) -> None:
    other = make_record("small", "receipts-mini", environment={"torch": "2.14.0"})
    text = leaderboard_markdown([*[r for r in records if r.cell != other.cell], other])
    assert "Scale tiny, budget quick." in text
    assert "- cpu: two cores\n" in text
    assert "- torch: 2.13.0, 2.14.0\n" in text
    assert "Seed 0; test documents: 100; ted of a reader that cannot read: 0.037." in text
    assert "One seed, so no error bars. No confidence intervals are computed yet" in text
    assert "±0.100 (1/√n, about 95 %)" in text
    assert [text.index(f"## {name}, which stands for {real}") for name, real in DATASETS.items()] == sorted(
        text.index(f"## {name}") for name in DATASETS
    )


def test_several_seeds_have_error_bars_in_the_leaderboard(make_record: Make) -> None:
    text = leaderboard_markdown([make_record("small", "synthdog-mini", seed) for seed in (0, 1)])
    assert "0.649 ± 0.007" in text
    assert "± is the sample standard deviation over seeds." in text
    assert "One seed" not in text


def test_a_plugin_cannot_break_the_table(make_record: Make) -> None:
    text = leaderboard_markdown([make_record("small", "synthdog-mini", start="a | b\n<img>")])
    [line] = [line for line in text.splitlines() if "small" in line and line.startswith("|")]
    assert "a \\| b &lt;img>" in line


def test_a_curve_is_the_mean_over_the_steps_that_all_seeds_have(make_record: Make, failed: Fail) -> None:
    first = make_record("small", "synthdog-mini", curve=[(50, 0.2), (100, 0.4)])
    second = make_record("small", "synthdog-mini", 1, curve=[(50, 0.4)])
    gone = failed(make_record("small", "synthdog-mini", 2), "boom")
    [(step, score)] = mean_curve(Row((first, second, gone)))
    assert (step, round(score, 9)) == (50, 0.3)
    assert mean_curve(Row((gone,))) == []


def test_one_report_holds_everything(run_directory: Path) -> None:
    written = [path.relative_to(run_directory).as_posix() for path in write_report(run_directory)]
    assert written[0] == "leaderboard.md"
    assert sorted(written) == sorted(contents(run_directory))
    assert [name for name in written if name.startswith("figures/")] == [
        f"figures/validation-{d}.png" for d in DATASETS
    ]
    for name in written[-3:]:
        assert f"({name})" in (run_directory / "leaderboard.md").read_text(encoding="utf-8")


def test_the_same_records_give_the_same_bytes(run_directory: Path) -> None:
    write_report(run_directory)
    before = contents(run_directory)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20, "savefig.facecolor": "red"}):
        write_report(run_directory)
    assert contents(run_directory) == before
    records = read_records(run_directory)
    assert leaderboard_markdown(records[::-1]) == leaderboard_markdown(records)


def test_a_figure_has_a_line_a_trained_strategy_and_no_metadata(run_directory: Path, records: list[Record]) -> None:
    write_report(run_directory)
    picture = Image.open(io.BytesIO(contents(run_directory)["figures/validation-parcels-mini.png"]))
    assert set(picture.info) <= {"dpi"}
    counted = picture.convert("RGB").getcolors(2**24)
    assert counted
    colours = {colour for _, colour in counted}
    assert {ImageColor.getrgb(colour) for colour in _COLOURS} <= colours  # seven trained, seven colours
    rows = next(rows for setting, rows in by_setting(records).items() if setting.dataset == "parcels-mini")
    assert [row.strategy for row in rows if not mean_curve(row)] == ["teacher", "prune"]


def test_no_curve_no_figure(tmp_path: Path, make_record: Make) -> None:
    write_record(tmp_path, make_record("prune", "synthdog-mini"))
    assert not [path for path in write_report(tmp_path) if path.suffix == ".png"]
    assert "![" not in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_an_empty_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no records in .*: run `python -m benchmark run --output .*` first"):
        write_report(tmp_path)
