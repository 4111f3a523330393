"""The summary in a README is what the records give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.report import embed_summary
from benchmark.report.readme import summary_markdown

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]

SMALL_ON_RECEIPTS = "small__receipts-mini__tiny__paper__quick__seed0"
PAGE = "# title\n<!-- leaderboard: begin (how) -->\nold\n<!-- leaderboard: end -->\nrest\n"


def test_only_what_stands_between_the_marks_changes(records: Sequence[Record], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path, record)
    readme = tmp_path / "README.md"
    readme.write_text(PAGE)
    embed_summary(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("# title\n<!-- leaderboard: begin (how) -->\n\n")
    assert text.endswith("\n\n<!-- leaderboard: end -->\nrest\n")
    assert "old" not in text
    assert summary_markdown(records, tmp_path.as_posix()) in text
    embed_summary(readme, tmp_path)
    assert readme.read_text() == text


def test_ends_of_lines_a_link_and_a_mode_stay(records: Sequence[Record], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path, record)
    real, link = tmp_path / "real.md", tmp_path / "README.md"
    real.write_bytes(PAGE.replace("\n", "\r\n").encode("utf-8-sig"))
    real.chmod(0o640)
    link.symlink_to("real.md")
    for _ in range(2):
        embed_summary(link, tmp_path)
        content = real.read_bytes()
        assert link.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o640
        assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        summary = summary_markdown(records, tmp_path.as_posix())
        assert text == PAGE.replace("old", f"\n{summary}\n")


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xe9 at 4"), ("utf-16", "0xff at 1")])
def test_a_readme_in_another_encoding_is_refused(
    encoding: str, byte: str, records: Sequence[Record], tmp_path: Path
) -> None:
    for record in records:
        write_record(tmp_path, record)
    readme = tmp_path / "README.md"
    readme.write_bytes(f"Caf\xe9\n{PAGE}".encode(encoding))
    before = readme.read_bytes()
    with pytest.raises(UserError, match=f"README.md is not UTF-8: byte {byte}$"):
        embed_summary(readme, tmp_path)
    assert readme.read_bytes() == before


def tables(records: Sequence[Record]) -> dict[str, dict[str, dict[str, str]]]:
    """title -> strategy without its mark -> heading -> cell."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    title = ""
    heading: list[str] = []
    for line in summary_markdown(records, "x").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("N-TED"):
            title, heading = line, []
        elif not heading:
            heading = cells if line.startswith("|") else []
        elif line.startswith("|") and "--" not in line:
            found.setdefault(title, {})[cells[0].removesuffix(" †")] = dict(zip(heading, cells, strict=True))
    return found


def test_a_quick_and_a_full_run_are_two_tables(make_record: Make) -> None:
    quick = make_record("small", "receipts-mini")
    full = make_record("small", "receipts-mini", 1, budget="full")
    found = tables([quick, full])
    assert [table["small"]["receipts-mini"] for table in found.values()] == ["0.554", "0.544"]
    assert ["budget full" in title for title in found] == [True, False]
    assert ["budget quick" in title for title in found] == [False, True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": "mini"}, "scale mini"),
        ({"limit": 3, "test_documents": 3}, "on 3 test documents, scale tiny, protocol paper, budget quick, limit 3, "),
        ({"protocol": "task"}, "scale tiny, protocol task, budget quick, 1 seed"),
        ({"device": "cuda"}, "device cuda"),
    ],
)
def test_nothing_that_changes_a_result_is_averaged(make_record: Make, changes: dict[str, object], said: str) -> None:
    found = tables([make_record("small", "receipts-mini"), make_record("small", "receipts-mini", 1, **changes)])
    assert sorted(table["small"]["receipts-mini"] for table in found.values()) == ["0.544", "0.554"]
    assert sum(said in title for title in found) == 1


def test_a_variant_stands_under_the_teacher(records: list[Record], make_record: Make) -> None:
    variant = make_record("prune", "receipts-mini", options={"target": "0.1"})
    _, other = tables([make_record("teacher", "receipts-mini"), variant]).values()
    assert list(other) == ["teacher", "prune"]


def test_variants_of_rows_are_left_to_the_leaderboard(records: list[Record], make_record: Make) -> None:
    variant = make_record("prune", "receipts-mini", options={"target": "0.1"})
    assert summary_markdown([*records, variant], "x") == summary_markdown(records, "x")


def test_a_strategy_that_lacks_data_sets_is_not_ahead_of_complete_ones(records: list[Record]) -> None:
    left = ("dense-finetune", "synthdog-mini")
    rows = [r for r in records if r.strategy != left[0] or r.dataset == left[1]]
    [table] = tables(rows).values()
    assert list(table)[:2] == ["teacher", "prune-distill"]
    assert list(table)[-1] == "dense-finetune"
    assert [table["dense-finetune"][name] for name in ("synthdog-mini", "receipts-mini", "parcels-mini")] == [
        "0.915",
        "",
        "",
    ]
    assert "Rows that lack a score come last, in no order." in summary_markdown(rows, "x")
    assert "come last" not in summary_markdown(records, "x")


def test_a_failed_cell_says_so(records: list[Record], failed: Fail) -> None:
    rows = [failed(r, "boom") if (r.strategy, r.dataset) == ("none", "parcels-mini") else r for r in records]
    [table] = tables(rows).values()
    assert table["none"]["parcels-mini"] == "failed"
    assert list(table)[-1] == "none"


def test_a_strategy_that_failed_everywhere_is_there(records: list[Record], failed: Fail) -> None:
    [table] = tables([failed(r, "boom") if r.strategy == "none" else r for r in records]).values()
    assert set(table["none"].values()) == {"none", "failed"}


def test_rows_that_trained_on_other_documents_are_marked_and_told(records: list[Record]) -> None:
    more = [r.model_copy(update={"documents": 9}) if r.cell == SMALL_ON_RECEIPTS else r for r in records]
    text = summary_markdown(more, "x")
    marked = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|") and "†" in line]
    assert sorted(marked) == ["prune †", "small †"]
    assert list(tables(more).popitem()[1])[-2:] == ["small", "prune"], "they stand below"
    (why,) = [line for line in text.splitlines() if line.startswith("† ")]
    assert "receipts-mini: not ranked, for the rows above trained on" in why
    assert "small on 9; prune on 0 (nothing is trained)." in why
    assert "†" not in summary_markdown([r for r in records if r.strategy != "prune"], "x")


def test_the_ratio_to_the_teacher_stands_before_the_milliseconds(records: list[Record]) -> None:
    [table] = tables(records).values()
    assert list(table["small"])[-2:] == ["latency (x teacher)", "latency p50 (ms)"]
    assert list(table["small"].values())[-2:] == ["0.54 [0.53, 0.55]", "51.250"]


def test_a_mean_has_its_spread_and_one_model_has_none(make_record: Make) -> None:
    task = [make_record("small", "receipts-mini", seed) for seed in (0, 1)]
    reading = [make_record("small", "synthdog-mini").model_copy(update={"seed": seed}) for seed in (0, 1)]
    [(title, table)] = tables([*task, *reading]).items()
    assert table["small"]["receipts-mini"] == "0.549 ± 0.007"
    assert table["small"]["synthdog-mini"] == "0.644"
    assert "2 seeds, ± the sample standard deviation" in title
    assert "synthdog-mini: seeds 0, 1 of small score one and the same checkpoint" in summary_markdown(reading, "x")


def test_what_is_true_of_several_data_sets_is_said_once(make_record: Make) -> None:
    first = [make_record("small", name) for name in ("synthdog-mini", "receipts-mini")]
    text = summary_markdown([*first, *(record.model_copy(update={"seed": 1}) for record in first)], "x")
    assert text.count("one and the same checkpoint") == 1
    assert "\nsynthdog-mini, receipts-mini: seeds 0, 1 of small score" in text


def test_seeds_are_those_of_the_rows_not_of_the_reference(make_record: Make) -> None:
    teacher = [make_record("teacher", "receipts-mini", seed) for seed in (0, 1, 2)]
    variant = make_record("prune", "receipts-mini", options={"target": "0.1"})
    rows = [make_record("small", "receipts-mini", seed) for seed in (0, 1)]
    [plain] = tables([*teacher, *rows, make_record("none", "receipts-mini")])
    assert "budget quick, 1 to 2 seeds, ±" in plain
    _, other = tables([*teacher, variant])
    assert "target=0.1, 1 seed; sizes and latency of the model of receipts-mini:" in other


def test_test_sizes_that_differ_are_told(make_record: Make) -> None:
    rows = [make_record("small", "synthdog-mini"), make_record("small", "receipts-mini", test_documents=80)]
    [(title, table)] = tables(rows).items()
    assert "(test documents in brackets)" in title
    assert {"synthdog-mini (100)", "receipts-mini (80)"} <= set(table["small"])


def test_one_data_set_of_two_sizes_is_two_columns(make_record: Make) -> None:
    rows = [make_record("small", "receipts-mini"), make_record("none", "receipts-mini", test_documents=80)]
    [table] = tables(rows).values()
    assert (table["small"]["receipts-mini (100)"], table["small"]["receipts-mini (80)"]) == ("0.544", "")
    assert (table["none"]["receipts-mini (100)"], table["none"]["receipts-mini (80)"]) == ("", "0.771")


def test_a_figure_that_is_not_drawn_is_not_shown(make_record: Make) -> None:
    text = summary_markdown([make_record("prune", "synthdog-mini")], "x")
    assert text.count("![") == 1
    assert "(x/figures/cka-synthdog-mini-tiny-paper-quick-100-cpu.png)" in text
    assert "(x/figures/validation-synthdog-mini.png)" in summary_markdown([make_record("none", "synthdog-mini")], "x")


def test_nothing_finished_is_an_error(make_record: Make, failed: Fail) -> None:
    with pytest.raises(UserError, match="no finished records in x"):
        summary_markdown([failed(make_record("none", "synthdog-mini"), "boom")], "x")


def test_every_finished_strategy_has_its_row_and_score(records: Sequence[Record]) -> None:
    done = [record for record in records if record.metrics]
    rows = {line.split("|")[1].strip(" †"): line for line in summary_markdown(done, "x").splitlines() if "|" in line}
    for record in done:
        assert record.metrics is not None
        if sum(r.strategy == record.strategy and r.dataset == record.dataset for r in done) == 1:
            assert f"{record.metrics.ted:.3f}" in rows[record.strategy]


def test_a_readme_without_marks_is_named(records: Sequence[Record], tmp_path: Path) -> None:
    write_record(tmp_path, records[0])
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(UserError, match=r"README\.md lacks"):
        embed_summary(tmp_path / "README.md", tmp_path)


def test_the_fronts_of_a_task_come_first_that_of_its_own_teacher_before_the_papers(
    records: list[Record], as_task: Callable[[list[Record]], list[Record]]
) -> None:
    lines = summary_markdown([*records, *as_task(records)], "x").splitlines()
    assert (
        lines[0] == "![Score against cost on receipts-mini](x/figures/pareto-receipts-mini-tiny-task-quick-100-cpu.png)"
    )
    assert (
        lines[2]
        == "![Score against cost on receipts-mini](x/figures/pareto-receipts-mini-tiny-paper-quick-100-cpu.png)"
    )
    assert lines[-3] == "![Validation N-TED over training](x/figures/validation-receipts-mini.png)"
    assert (
        lines[-1] == "![CKA of every layer with the teacher's](x/figures/cka-receipts-mini-tiny-task-quick-100-cpu.png)"
    )


def test_each_document_is_shown_where_documents_are_known(records: list[Record]) -> None:
    teds = {record.cell: dict.fromkeys("abc", 0.5) for record in records}
    text = summary_markdown(records, "x", teds)
    assert "![N-TED of each document](x/figures/documents-receipts-mini-tiny-paper-quick-100-cpu.png)" in text
    assert "documents-" not in summary_markdown(records, "x")
