"""The leaderboard, the figures and the report as a whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from benchmark.errors import UserError
from benchmark.records.files import read_records, write_record
from benchmark.records.record import Metrics, Record
from benchmark.report import leaderboard_frame, write_report
from benchmark.report.drawing import looks_of
from benchmark.report.figures import mean_curve, write_figures
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.rows import Row, by_setting

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]
Change = Callable[[list[Record]], list[Record]]

DATASETS = {"synthdog-mini": "SynthDog-EN", "receipts-mini": "CORD-v2", "parcels-mini": "Parcel Reader"}
CONDITIONS = "scale tiny, protocol paper, budget quick"
ON_READING = [
    "teacher (reference)",
    "dense-finetune",
    "prune-distill",
    "none",
    "prune-finetune",
    "distill",
    "small",
    "random-prune",
    "prune (other documents)",
]


def contents(directory: Path) -> dict[str, bytes]:
    paths = [path for path in directory.rglob("*") if path.is_file() and path.parent.name != "results"]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def test_the_reference_comes_first_unranked_then_the_best(seeded: list[Record]) -> None:
    frame = leaderboard_frame(seeded, "synthdog-mini")
    assert list(frame["strategy"]) == ON_READING
    assert list(frame["rank"]) == ["", "1", "2", "3", "4", "5", "6", "7", ""]
    row = frame.iloc[2]
    assert (row["ted"], row["density"], row["MACs (M)"]) == ("0.889 ± 0.007", "0.262", "41.250")
    assert (row["packed (MB)"], row["rate"], row["seeds"]) == ("1.431", "0.5", "2")


def test_equal_scores_share_a_rank(make_record: Make) -> None:
    best = [make_record("none", "synthdog-mini", seed) for seed in (0, 1)]
    same = [record.model_copy(update={"strategy": name}) for name in ("a", "b") for record in best]
    small = [make_record("small", "synthdog-mini", seed) for seed in (0, 1)]
    frame = leaderboard_frame([*small, *same], "synthdog-mini")
    assert list(zip(frame["strategy"], frame["rank"], strict=True)) == [
        ("a", "1"),
        ("b", "1"),
        ("small", "3"),
    ]


def test_one_seed_has_an_order_but_neither_rank_nor_tie(records: list[Record]) -> None:
    frame = leaderboard_frame(records, "synthdog-mini")
    assert "rank" not in frame
    assert list(frame["strategy"]) == ON_READING
    text = leaderboard_markdown(records)
    why = "No ranks: another seed can turn the order, and of each row that could have a rank "
    why += "there is only one checkpoint."
    assert text.count(why) == len(DATASETS)
    assert "| rank" not in text.replace("  ", "")


def test_a_row_without_a_second_seed_has_no_rank_and_takes_none(seeded: list[Record]) -> None:
    lacking = [r for r in seeded if (r.strategy, r.dataset, r.seed) != ("small", "receipts-mini", 1)]
    frame = leaderboard_frame(lacking, "receipts-mini").set_index("strategy")
    others = frame["rank"].drop("small")
    assert frame["rank"]["small"] == ""
    assert [rank for rank in others if rank] == [str(rank + 1) for rank in range(sum(others != ""))]
    assert sum(others != "") > 2
    text = leaderboard_markdown(lacking)
    assert text.count("No rank for small: another seed can turn the order") == 1


def test_seeds_of_one_model_are_one_checkpoint(make_record: Make) -> None:
    """On the reading set a quick run scores the zoo's model, whatever the seed."""
    seeds = [make_record("small", "synthdog-mini").model_copy(update={"seed": seed}) for seed in (0, 1, 2)]
    frame = leaderboard_frame(seeds, "synthdog-mini")
    assert list(frame["ted"]) == ["0.644"]
    assert list(frame["seeds"]) == ["1"]
    assert "rank" not in frame
    text = leaderboard_markdown(seeds)
    assert "±0" not in text.replace("±0.100 (1/√n", "")
    assert "One checkpoint a row, so no error bars." in text
    assert (
        "\nSeeds 0, 1, 2 of small score one and the same checkpoint (nothing of it was trained in this run, or its "
        "training does not depend on the seed), so no spread is printed.\n"
    ) in text


def test_a_checkpoint_that_repeats_counts_once(make_record: Make) -> None:
    first, second = (make_record("small", "synthdog-mini", seed) for seed in (0, 1))
    again = first.model_copy(update={"seed": 2})
    [line] = leaderboard_frame([first, second, again], "synthdog-mini").to_dict("records")
    assert (line["ted"], line["seeds"]) == ("0.649 ± 0.007", "2")
    assert "Seeds 0, 2 of small score one and the same checkpoint" in leaderboard_markdown([first, second, again])
    assert "which counts once." in leaderboard_markdown([first, second, again])


def test_rows_with_the_same_seeds_share_a_line(make_record: Make) -> None:
    first = [make_record(name, "synthdog-mini") for name in ("none", "small")]
    rows = [*first, *(record.model_copy(update={"seed": 1}) for record in first)]
    assert "Seeds 0, 1 of none, small score one and the same checkpoint each (" in leaderboard_markdown(rows)


def test_old_records_do_not_say_what_they_scored_and_count_one_each(make_record: Make) -> None:
    old = [make_record("small", "synthdog-mini", seed, model_hash=None, start_documents=None) for seed in (0, 1)]
    [line] = leaderboard_frame(old, "synthdog-mini").to_dict("records")
    assert (line["ted"], line["seeds"], line["documents of the start"]) == ("0.649 ± 0.007", "2", "")


def test_what_no_seed_can_change_needs_no_spread_to_be_ranked(make_record: Make) -> None:
    prune = [make_record("prune", "synthdog-mini", seed) for seed in (0, 1)]
    half = [
        record.model_copy(update={"strategy": "prune-half", "model_hash": "half", "metrics": metrics})
        for record, metrics in zip(prune, [make_record("small", "synthdog-mini").metrics] * 2, strict=True)
    ]
    frame = leaderboard_frame([*prune, *half], "synthdog-mini").set_index("strategy")
    assert list(frame.loc["prune", ["rank", "ted", "seeds"]]) == ["2", "0.041", "1"]
    text = leaderboard_markdown([*prune, *half])
    assert "Seeds 0, 1 of prune, prune-half score one and the same checkpoint each" in text
    alone = [*prune[:1], *half]
    assert "rank" not in leaderboard_frame(alone, "synthdog-mini"), "nobody knows what another seed would prune"


def test_what_is_the_teacher_itself_is_not_ranked(seeded: list[Record]) -> None:
    teacher = next(r for r in seeded if (r.strategy, r.dataset) == ("teacher", "synthdog-mini"))
    same = {"model_hash": teacher.model_hash, "metrics": teacher.metrics}
    rows = [
        r.model_copy(update=same) if (r.strategy, r.dataset) == ("dense-finetune", "synthdog-mini") else r
        for r in seeded
    ]
    frame = leaderboard_frame(rows, "synthdog-mini")
    assert list(frame["strategy"][:3]) == ["teacher (reference)", "dense-finetune (= teacher)", "prune-distill"]
    assert list(frame["rank"][:3]) == ["", "", "1"]
    assert "dense-finetune" in list(leaderboard_frame(rows, "receipts-mini")["strategy"])


def test_documents_of_the_start_stand_apart_from_those_trained_on(records: list[Record]) -> None:
    frame = leaderboard_frame(records, "receipts-mini").set_index("strategy")
    columns = ["documents of the start", "documents trained on"]
    assert list(frame.loc["teacher (reference)", columns]) == ["48,000", "0"]
    assert list(frame.loc["prune-distill", columns]) == ["48,000", "3,200"]
    assert list(frame.loc["small", columns]) == ["0", "3,200"]


def test_a_failed_row_comes_last_without_a_rank(seeded: list[Record], failed: Fail) -> None:
    rows = [failed(r, "boom") if r.strategy == "dense-finetune" else r for r in seeded]
    frame = leaderboard_frame(rows, "synthdog-mini")
    last = frame.iloc[-1]
    assert list(last[["strategy", "rank", "ted"]]) == ["dense-finetune", "", "failed"]
    assert list(last[["latency (x teacher)", "documents trained on"]]) == ["failed", ""]
    assert list(frame["rank"][:3]) == ["", "1", "2"]
    assert "- dense-finetune, seed 0: `boom`" in leaderboard_markdown(rows)


def test_settings_are_ranked_apart(make_record: Make) -> None:
    rows = [make_record("small", "synthdog-mini", s, budget=budget) for budget in ("quick", "full") for s in (0, 1)]
    frame = leaderboard_frame(rows, "synthdog-mini")
    assert list(frame["budget"]) == ["full", "quick"]
    assert list(frame["rank"]) == ["1", "1"]
    assert "scale" not in frame, "it is the same in all lines"


def test_protocols_are_ranked_apart_the_papers_first(seeded: list[Record], as_task: Change) -> None:
    both = [*as_task(seeded), *seeded]
    frame = leaderboard_frame(both, "receipts-mini")
    assert list(frame["protocol"]) == ["paper"] * 9 + ["task"] * 9
    assert list(frame["rank"][:9]) == list(frame["rank"][9:]) == ["", *"1234567", ""]
    text = leaderboard_markdown(both)
    assert "Scale tiny; protocol paper, task; budget quick." in text
    assert "\n- protocol task: the strategy is applied to the task's own teacher" in text
    titles = [line for line in text.splitlines() if line.startswith("## receipts-mini")]
    assert ["protocol paper" in title for title in titles] == [True, False]
    assert "protocol task" in titles[1]
    assert "protocol task" not in leaderboard_markdown(seeded)


def test_a_smoke_test_stands_apart_from_the_full_run(seeded: list[Record], make_record: Make) -> None:
    smoke = make_record("small", "receipts-mini", limit=3, test_documents=3)
    frame = leaderboard_frame([*seeded, smoke], "receipts-mini")
    assert list(zip(frame["limit"], frame["test_documents"], frame["strategy"], strict=True))[-1] == ("3", "3", "small")
    assert list(frame["rank"])[-1] == ""
    text = leaderboard_markdown([*seeded, smoke])
    assert f"## receipts-mini, {CONDITIONS}, 100 test documents\n" in text
    section = text[text.index(f"## receipts-mini, {CONDITIONS}, limit 3, 3 test documents\n") :]
    assert "prune" not in section[: section.index("\n## ")]


def test_test_sizes_are_never_mixed_even_without_a_limit(make_record: Make) -> None:
    rows = [make_record("small", "receipts-mini"), make_record("none", "receipts-mini", test_documents=50)]
    assert [setting.test_documents for setting in by_setting(rows)] == [100, 50]
    assert [len(found) for found in by_setting(rows).values()] == [1, 1]


def test_a_variant_is_read_against_the_teacher_only(seeded: list[Record], make_record: Make) -> None:
    options = {"target": "0.1", "scope": "encoder"}
    variant = make_record("prune", "receipts-mini", options=options)
    text = leaderboard_markdown([*seeded, variant])
    section = text[text.index(f"## receipts-mini, {CONDITIONS}, scope=encoder, target=0.1, 100 test documents\n") :]
    lines = [line for line in section[: section.index("\n## ")].splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["teacher (reference)", "prune"]
    frame = leaderboard_frame([*seeded, variant], "receipts-mini")
    assert list(frame["options"][-2:]) == ["scope=encoder, target=0.1"] * 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)  # they are plain functions
@given(st.data())
def test_every_record_is_in_the_rows_of_its_own_setting(make_record: Make, failed: Fail, data: st.DataObject) -> None:
    made = st.builds(
        make_record,
        st.sampled_from(["teacher", "small", "prune"]),
        st.sampled_from(["receipts-mini", "parcels-mini"]),
        st.integers(0, 1),
        options=st.sampled_from([{}, {"target": "0.1"}]),
        limit=st.sampled_from([None, 3]),
        test_documents=st.sampled_from([3, 100]),
    )
    measured = data.draw(st.lists(made, max_size=8, unique_by=lambda record: record.cell))
    records = [failed(record, "boom") if data.draw(st.booleans()) else record for record in measured]
    found = by_setting(records)
    assert by_setting(records[::-1]) == found
    for setting, rows in found.items():
        for row in rows:
            assert {record.strategy for record in row.records} == {row.strategy}
            assert len({record.seed for record in row.records}) == len(row.records)
            assert all(record.test_documents == setting.test_documents for record in row.scored)
            assert {(record.dataset, record.limit) for record in row.records} == {(setting.dataset, setting.limit)}
            assert row.reference or all(record.options == dict(setting.options) for record in row.records)
    held = [record for rows in found.values() for row in rows for record in row.records]
    assert {record.cell for record in held} == {record.cell for record in records}
    assert all(held.count(record) == 1 for record in records if record.status == "ok" and not record.reference)


def test_a_reference_with_options_of_its_own_is_not_mixed_with_the_plain_one(make_record: Make) -> None:
    plain = make_record("teacher", "receipts-mini")
    other = make_record("teacher", "receipts-mini", options={"target": "0.1"}, model_hash="other")
    assert [[row.records for row in rows] for rows in by_setting([plain, other]).values()] == [[(plain,)], [(other,)]]


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"limit": 9}, {"scale": "mini"}, {"budget": "full"}])
def test_a_teacher_of_another_setting_is_no_reference(make_record: Make, change: dict[str, object]) -> None:
    teacher = make_record("teacher", "receipts-mini", **change)
    variant = make_record("prune", "receipts-mini", options={"target": "0.1"})
    assert sorted(len(rows) for rows in by_setting([teacher, variant]).values()) == [1, 1]


def test_what_failed_stands_with_what_it_failed_beside(make_record: Make, failed: Fail) -> None:
    gone = {"test_documents": 0}
    teacher = make_record("teacher", "receipts-mini")
    plain = failed(make_record("small", "receipts-mini", **gone), "boom")
    variant = failed(make_record("prune", "receipts-mini", options={"target": "0.1"}, **gone), "boom")
    alone = failed(make_record("small", "parcels-mini", **gone), "boom")
    found = by_setting([variant, alone, plain, teacher])
    assert [(setting.title, [row.strategy for row in rows]) for setting, rows in found.items()] == [
        (f"receipts-mini, {CONDITIONS}, 100 test documents", ["teacher", "small"]),
        (f"receipts-mini, {CONDITIONS}, target=0.1, 100 test documents", ["teacher", "prune"]),
        (f"parcels-mini, {CONDITIONS}", ["small"]),
    ]


def test_an_unknown_data_set_is_named(records: list[Record]) -> None:
    with pytest.raises(UserError, match="no records of the data set 'cord'"):
        leaderboard_frame(records, "cord")


def test_the_head_says_what_was_measured_and_how_far_to_trust_it(records: list[Record], make_record: Make) -> None:
    other = make_record("small", "receipts-mini", environment={"torch": "2.14.0"})
    text = leaderboard_markdown([*[r for r in records if r.cell != other.cell], other])
    assert "Scale tiny; protocol paper; budget quick." in text
    assert "- cpu: two cores\n" in text
    assert "- torch: 2.13.0, 2.14.0\n" in text
    assert "Seed 0; test documents: 100; ted of a reader that cannot read: 0.037." in text
    assert "One seed, so no error bars. With 100 documents the sampling error of a ted can reach ±0.100" in text
    assert "±0.100 (1/√n, about 95 %)" in text
    assert [text.index(f"\n{name} stands for {real}. ") for name, real in DATASETS.items()] == sorted(
        text.index(f"\n{name} stands for") for name in DATASETS
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
    figures = [name for name in written if name.startswith("figures/")]
    forms = [f"figures/validation-{name}.{form}" for name in DATASETS for form in ("png", "svg")]
    assert [name for name in figures if "validation" in name] == forms
    assert len({name for name in figures if "pareto" in name}) == 2 * len(DATASETS)
    page = (run_directory / "leaderboard.md").read_text(encoding="utf-8")
    for name in figures:
        assert f"({Path(name).with_suffix('.png').as_posix()})" in page


def test_the_same_records_give_the_same_bytes(run_directory: Path) -> None:
    for path in (run_directory / "results").glob("*__*-mini__*"):
        if "parcels-mini" not in path.name:
            path.unlink()
    write_report(run_directory)
    before = contents(run_directory)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20, "savefig.facecolor": "red"}):
        write_report(run_directory)
    assert contents(run_directory) == before
    records = read_records(run_directory)
    assert leaderboard_markdown(records[::-1]) == leaderboard_markdown(records)


def test_a_figure_has_a_line_a_trained_strategy_and_no_metadata(run_directory: Path, records: list[Record]) -> None:
    write_figures(run_directory, records)
    picture = Image.open(io.BytesIO(contents(run_directory)["figures/validation-parcels-mini.png"]))
    assert set(picture.info) <= {"dpi"}
    counted = picture.convert("RGB").getcolors(2**24)
    assert counted
    colours = {colour for _, colour in counted}
    trained = {record.strategy for record in records if record.curve}
    assert {ImageColor.getrgb(look.colour) for name, look in looks_of(records).items() if name in trained} <= colours
    rows = next(rows for setting, rows in by_setting(records).items() if setting.dataset == "parcels-mini")
    assert [row.strategy for row in rows if not mean_curve(row)] == ["teacher", "prune"]


def test_a_figure_has_a_panel_a_protocol_and_none_for_what_is_varied(tmp_path: Path, make_record: Make) -> None:
    write_record(tmp_path, make_record("small", "synthdog-mini"))
    write_record(tmp_path, make_record("small", "synthdog-mini", protocol="task"))
    write_report(tmp_path)
    two = contents(tmp_path)["figures/validation-synthdog-mini.svg"].decode()
    assert two.count(">training step<") == 2
    write_record(tmp_path, make_record("small", "synthdog-mini", options={"temperature": "4"}))
    write_record(tmp_path, make_record("small", "parcels-mini", options={"temperature": "$" * 99}))
    write_report(tmp_path)
    assert contents(tmp_path)["figures/validation-synthdog-mini.svg"].decode() == two
    assert "$" * 30 in contents(tmp_path)["figures/validation-parcels-mini.svg"].decode(), "there is nothing else"
    assert (tmp_path / "leaderboard.md").read_text(encoding="utf-8").count("(figures/validation-synthdog") == 2


def test_no_curve_no_figure(tmp_path: Path, make_record: Make) -> None:
    write_record(tmp_path, make_record("prune", "synthdog-mini", metrics=Metrics(ted=0.04)))
    assert not [path for path in write_report(tmp_path) if path.suffix == ".png"]
    assert "![" not in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_an_empty_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no records in .*: run `python -m benchmark run --output .*` first"):
        write_report(tmp_path)
