"""Tables 1 to 5: the paper's figures beside ours, every row, and nothing invented."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.record import Record
from benchmark.report import paper
from benchmark.report.rows import by_setting
from benchmark.report.tables import TABLES, all_records_csv, table_csv, table_markdown, write_tables

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]
Change = Callable[[list[Record]], list[Record]]

CONDITIONS = "scale tiny, protocol paper, budget quick"
ORDER = ["teacher", "none", "small", "distill", "prune", "prune-distill"]
CONTROLS = ["dense-finetune", "prune-finetune", "random-prune"]


def markdown(number: int, records: list[Record]) -> str:
    table = TABLES[number - 1]
    return table_markdown(table, table.select(by_setting(records)))


def markdown_rows(number: int, records: list[Record]) -> dict[str, dict[str, str]]:
    """strategy -> heading -> cell, of the first table in the text."""
    lines = [line for line in markdown(number, records).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def csv_rows(number: int, records: list[Record]) -> list[dict[str, str]]:
    table = TABLES[number - 1]
    return list(csv.DictReader(io.StringIO(table_csv(table, table.select(by_setting(records))))))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_every_row_is_there_in_the_papers_order_with_its_start(records: list[Record], number: int) -> None:
    rows = markdown_rows(number, records)
    starts = {record.strategy: record.start for record in records}
    assert list(rows) == ORDER + CONTROLS
    assert [row["start"] for row in rows.values()] == [starts[name] for name in rows]


def test_a_reference_comes_first_even_without_a_paper_name(records: list[Record], make_record: Make) -> None:
    reference = make_record("dense-finetune", "synthdog-mini", reference=True)
    reference = reference.model_copy(update={"strategy": "z-reference"})
    assert list(markdown_rows(2, [*records, reference]))[:3] == ["teacher", "z-reference", "none"]


@pytest.mark.parametrize(("number", "dataset"), [(2, "synthdog-mini"), (3, "receipts-mini"), (4, "parcels-mini")])
def test_reported_stands_beside_measured(records: list[Record], number: int, dataset: str) -> None:
    row = markdown_rows(number, records)["prune-distill"]
    reported = paper.SCORES[number]["DONUT-hole"]
    assert row["TED *reported*"] == f"{reported.ted:.2f}"
    assert row["TED *measured*"] == f"{0.884 - (0 if number == 2 else 0.1):.3f}"
    assert row["non-embedding (M) *reported*"] == "37"
    assert row["non-embedding (M) *measured*"] == "0.265"
    assert row.get("F1 *reported*", "") == ("" if number == 2 else f"{reported.f1:.2f}")
    assert f"## {dataset}, {CONDITIONS}" in markdown(number, records)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_what_the_paper_does_not_report_is_empty(records: list[Record], number: int) -> None:
    for name in ["teacher", *CONTROLS]:
        row = markdown_rows(number, records)[name]
        assert {cell for heading, cell in row.items() if "*reported*" in heading} == {""}
        assert all(cell for heading, cell in row.items() if "*measured*" in heading)


def test_parameters_count_what_is_not_pruned(records: list[Record]) -> None:
    rows = markdown_rows(1, records)
    hole = rows["prune-distill"]
    assert (hole["configuration"], hole["total *reported*"]) == ("DONUT-base-pruned", "97")
    assert hole["total *measured*"] == "0.326"  # 265 144 + 61 000
    assert hole["non-embedding stored *measured*"] == "1.012"
    assert rows["teacher"]["non-embedding *reported*"] == "140"
    assert rows["random-prune"]["configuration"] == ""


def test_cka_is_given_in_every_reading_with_its_floor_and_ceiling(records: list[Record]) -> None:
    row = markdown_rows(5, records)["none"]
    assert row["CKA *reported*"] == "0.93"
    assert row["CKA, paper form (A) *measured*"] == "0.900"
    assert row["index-matched (B) *measured*"] == "0.910"
    assert row["summed Grams (C) *measured*"] == "0.920"
    assert row["m *measured*"] == "64"
    assert row["null floor *measured*"] == "0.391"
    assert row["self ceiling *measured*"] == "0.970"
    assert row["CKA, debiased *measured*"] == "0.000"  # -0.0002 has no minus at three decimals


def test_an_old_record_has_no_other_reading(make_record: Make) -> None:
    record = make_record("none", "synthdog-mini")
    assert record.metrics is not None
    gone = dict.fromkeys(("cka_index_matched", "cka_blocks", "cka_self_ceiling"))
    row = markdown_rows(5, [record.model_copy(update={"metrics": record.metrics.model_copy(update=gone)})])["none"]
    assert (row["CKA, paper form (A) *measured*"], row["index-matched (B) *measured*"]) == ("0.900", "")


def test_several_seeds_give_mean_and_sample_deviation(make_record: Make) -> None:
    seeds = [make_record("small", "synthdog-mini", seed) for seed in (0, 1, 2)]
    assert markdown_rows(2, seeds)["small"]["TED *measured*"] == "0.654 ± 0.010"
    assert "Seeds 0, 1, 2; test documents: 100" in markdown(2, seeds)
    [row] = csv_rows(2, seeds)
    assert (row["ted_measured"], row["ted_measured_std"], row["seeds_measured"]) == ("0.654", "0.01", "3")
    assert "±" not in markdown(2, seeds[:1])
    assert csv_rows(2, seeds[:1])[0]["ted_measured_std"] == ""


def test_seeds_of_one_checkpoint_have_no_deviation(make_record: Make) -> None:
    seeds = [make_record("small", "synthdog-mini").model_copy(update={"seed": seed}) for seed in (0, 1, 2)]
    row = markdown_rows(2, seeds)["small"]
    assert (row["TED *measured*"], row["seeds"]) == ("0.644", "1")
    assert "\nSeeds 0, 1, 2 of small score one and the same checkpoint (" in markdown(2, seeds)
    [fields] = csv_rows(2, seeds)
    assert (fields["ted_measured_std"], fields["seeds_measured"], fields["checkpoints_measured"]) == ("", "3", "1")


def test_a_failed_cell_is_shown_with_its_error(records: list[Record], make_record: Make, failed: Fail) -> None:
    broken = failed(make_record("small", "receipts-mini"), "CUDA | out of\nmemory at `x` <s_menu>")
    changed = [broken if record.cell == broken.cell else record for record in records]
    row = markdown_rows(3, changed)["small"]
    assert (row["TED *measured*"], row["TED *reported*"]) == ("failed", "0.55")
    assert row["seeds"] == "0 of 1"
    assert "\n- small, seed 0: `CUDA | out of memory at 'x' <s_menu>`\n" in markdown(3, changed)
    assert next(r for r in csv_rows(3, changed) if r["strategy"] == "small")["error"] == broken.error
    assert "Failed" not in markdown(4, changed)


def test_a_seed_that_failed_is_not_averaged_but_told(make_record: Make, failed: Fail) -> None:
    seeds = [make_record("small", "synthdog-mini"), failed(make_record("small", "synthdog-mini", 1), "boom")]
    row = markdown_rows(2, seeds)["small"]
    assert (row["TED *measured*"], row["seeds"]) == ("0.644", "1 of 2")
    assert "- small, seed 1: `boom`" in markdown(2, seeds)


def test_scales_and_budgets_are_never_mixed(make_record: Make) -> None:
    other = make_record("small", "synthdog-mini", budget="full")
    text = markdown(2, [make_record("small", "synthdog-mini"), other])
    assert text.index("budget full") < text.index("budget quick")
    assert "±" not in text


@pytest.mark.parametrize(
    ("number", "paper_sets", "task_sets"),
    [
        (1, ["synthdog-mini"], ["receipts-mini", "parcels-mini"]),  # what it says of models is said of any data set
        (2, ["synthdog-mini"], []),
        (3, ["receipts-mini"], ["receipts-mini"]),
        (4, ["parcels-mini"], ["parcels-mini"]),
        (5, ["synthdog-mini"], ["receipts-mini", "parcels-mini"]),
    ],
)
def test_each_protocol_has_its_sections(
    records: list[Record], as_task: Change, number: int, paper_sets: list[str], task_sets: list[str]
) -> None:
    both = [*as_task(records), *records]
    text = markdown(number, both)
    titles = [line.removeprefix("## ").split(", ")[0:3:2] for line in text.splitlines() if line.startswith("## ")]
    found: dict[str, list[str]] = {"paper": [], "task": []}
    for name, protocol in titles:
        found[protocol.removeprefix("protocol ")].append(name)
    assert found == {"paper": paper_sets, "task": task_sets}
    if "receipts-mini" in paper_sets:
        assert titles[0][1] == "protocol paper"
    rows = csv_rows(number, both)
    assert {(row["protocol"], row["dataset"]) for row in rows} == {
        *(("paper", name) for name in paper_sets),
        *(("task", name) for name in task_sets),
    }


def test_a_table_and_its_csv_say_the_setting(make_record: Make) -> None:
    smoke = make_record("prune", "receipts-mini", limit=3, test_documents=3, device="cuda", options={"target": "0.1"})
    rows = [make_record("prune", "receipts-mini"), make_record("teacher", "receipts-mini"), smoke]
    text = markdown(3, rows)
    assert f"## receipts-mini, {CONDITIONS}, 100 test documents\n" in text
    assert f"## receipts-mini, {CONDITIONS}, target=0.1, limit 3, device cuda, 3 test documents\n" in text
    *plain, other = csv_rows(3, rows)
    assert [(row["strategy"], row["options"], row["limit"]) for row in plain] == [
        ("teacher", "", ""),
        ("prune", "", ""),
    ]
    names = ("options", "limit", "device", "test_documents")
    assert [other[name] for name in names] == ['{"target": "0.1"}', "3", "cuda", "3"]


def test_a_reference_in_several_settings_is_one_record(make_record: Make) -> None:
    variants = [make_record("prune", "receipts-mini", options={"target": target}) for target in ("0.1", "0.2")]
    rows = [make_record("teacher", "receipts-mini"), *variants]
    assert [row["strategy"] for row in csv_rows(3, rows)] == ["teacher", "teacher", "prune", "teacher", "prune"]
    everything = list(csv.DictReader(io.StringIO(all_records_csv(rows))))
    assert [(row["strategy"], row["options"]) for row in everything] == [
        ("teacher", "{}"),
        ("prune", '{"target": "0.1"}'),
        ("prune", '{"target": "0.2"}'),
    ]


def test_a_ceiling_below_1_is_said_above_the_numbers(make_record: Make) -> None:
    record = make_record("small", "synthdog-mini")
    assert record.metrics is not None
    lost = {"ted_ceiling": 0.8123, "truncated_documents": 3, "unknown_characters": 57}
    below = record.model_copy(update={"metrics": record.metrics.model_copy(update=lost)})
    text = markdown(2, [below])
    sentence = "a perfect reader scores 0.812 here: 3 of 100 documents are longer than the model writes, 57 characters"
    assert text.count(sentence) == 1
    assert text.index(sentence) < text.index("| strategy")
    assert "perfect reader" not in markdown(2, [record])
    whole = record.metrics.model_copy(update={**lost, "ted_ceiling": 1.0})
    assert "perfect reader" not in markdown(2, [record.model_copy(update={"metrics": whole})])
    assert csv_text_of([below])["ted_ceiling"] == "0.8123"


def csv_text_of(records: list[Record]) -> dict[str, str]:
    return next(csv.DictReader(io.StringIO(all_records_csv(records))))


def test_a_table_without_records_says_so(make_record: Make) -> None:
    only = [make_record("small", "receipts-mini")]
    assert "No records of a data set that stands for SynthDog-EN." in markdown(2, only)
    assert csv_rows(2, only) == []
    assert list(markdown_rows(1, only)) == ["small"]


def test_every_csv_has_the_rows_of_its_markdown(records: list[Record]) -> None:
    for number in range(1, 6):
        assert [row["strategy"] for row in csv_rows(number, records)] == ORDER + CONTROLS


def test_all_csv_holds_every_record_in_full(records: list[Record], make_record: Make, failed: Fail) -> None:
    broken = failed(make_record("small", "receipts-mini"), "boom")
    rows = list(csv.DictReader(io.StringIO(all_records_csv([*records[1:], broken.model_copy(update={"seed": 9})]))))
    assert len(rows) == 27
    row = next(row for row in rows if (row["strategy"], row["dataset"]) == ("prune", "synthdog-mini"))
    assert float(row["density"]) == 265_144 / 1_012_000
    assert row["stands_for"] == "SynthDog-EN"
    assert row["environment"] == '{"cpu": "two cores", "python": "3.11.7", "threads": 1, "torch": "2.13.0"}'
    assert [row[name] for name in ("protocol", "latency_ratio", "latency_control_high")] == ["paper", "1.0", "1.012"]
    [gone] = [row for row in rows if row["status"] == "failed"]
    assert (gone["ted"], gone["params_total"], gone["error"]) == ("", "", "boom")


def test_all_csv_says_in_words_what_a_seed_changes(make_record: Make) -> None:
    record = make_record("small", "receipts-mini", seed_changes=["the documents, and their order", "dropout"])
    row = csv_text_of([record])
    assert (row["seed_changes"], row["seed_keeps"]) == ("the documents, and their order; dropout", "")


def test_the_names_of_the_files(tmp_path: Path, records: list[Record]) -> None:
    names = [path.relative_to(tmp_path).as_posix() for path in write_tables(tmp_path, records)]
    numbered = [f"tables/table{number}.{ending}" for number in range(1, 6) for ending in ("csv", "md")]
    assert names == ["tables/all.csv", *numbered]


def test_the_papers_figures_agree_with_its_text() -> None:
    for row in paper.PARAMETERS.values():
        assert row.nonembedding + row.embedding == row.total
    reading = paper.SCORES[2]
    # Section 4.2: distillation gains 17 %; section 4.2 and 4.3: DONUT-hole is best everywhere.
    assert reading["DONUT-small-distilled"].ted - reading["DONUT-small"].ted == pytest.approx(0.17)
    for table in paper.SCORES.values():
        assert max(table, key=lambda name: table[name].ted) == "DONUT-hole"
        assert [*table] == [*paper.CKA] == [*paper.SYSTEMS[1:]]
        for name, scores in table.items():
            assert scores.nonembedding == paper.PARAMETERS[paper.CONFIGURATIONS[name]].nonembedding


def test_what_to_know_of_the_documents_is_said_above_the_numbers(make_record: Make) -> None:
    note = "2 documents have keys that training never has: 'a|b'"
    record = make_record("small", "receipts-mini", dataset_notes=[note])
    assert record.metrics is not None
    several = record.model_copy(update={"metrics": record.metrics.model_copy(update={"several_truths": 3})})
    text = markdown(3, [several])
    said = "Mind that 3 of 100 documents have several ground truths: the best counts. Mind that 2 documents have keys"
    assert text.count(said) == 1
    assert text.index(said) < text.index("| strategy")
    assert "Mind that" not in markdown(3, [make_record("small", "receipts-mini")])
    line = csv_text_of([several])
    assert (line["several_truths"], line["dataset_notes"]) == ("3", note)
