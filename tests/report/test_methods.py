"""The table of methods: a line each, a start and what is distilled from it on one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmark.records.files import predictions_path, write_predictions, write_record
from benchmark.records.record import Prediction, Record
from benchmark.report import embed_summary
from benchmark.report.readme import methods_markdown

Make = Callable[..., Record]
TASKS = ("receipts-mini", "parcels-mini")
DOCUMENTS = 40
PAGE = "<!-- leaderboard: begin -->\n<!-- leaderboard: end -->\n<!-- methods: begin -->\nold\n<!-- methods: end -->\n"


def teds(records: list[Record]) -> dict[str, dict[str, float]]:
    """Each document as well read as the mean of its record says, but for what all rows find hard in it."""
    found = {}
    for record in records:
        assert record.metrics is not None
        noise = [0.02 * (-1) ** number for number in range(DOCUMENTS)]
        found[record.cell] = {f"doc{n}": record.metrics.ted + noise[n] for n in range(DOCUMENTS)}
    return found


@pytest.fixture
def records(make_record: Make, as_task: Callable[[list[Record]], list[Record]]) -> list[Record]:
    """`small` reads as DONUT-hole on receipts and worse on parcels."""
    names = ("teacher", "prune", "prune-distill", "prune-finetune", "small")
    made = [
        make_record(name, dataset, summary=f"what {name} is", paper="Some 2020") for name in names for dataset in TASKS
    ]
    found = as_task(made)
    for number, record in enumerate(found):
        assert record.metrics is not None
        ted = {("small", "receipts-mini"): 0.784, ("small", "parcels-mini"): 0.5}.get((record.strategy, record.dataset))
        if ted is not None:
            metrics = record.metrics.model_copy(update={"ted": ted})
            found[number] = record.model_copy(update={"metrics": metrics})
    return found


def lines(records: list[Record], scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
    _, table = methods_markdown(records, scores)
    heading, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: dict(zip(heading, row, strict=True)) for row in rows}


def test_a_start_and_what_is_distilled_from_it_share_a_line(records: list[Record]) -> None:
    found = lines(records, teds(records))
    assert list(found) == ["prune-distill", "prune-finetune", "small"]  # best first
    hole = found["prune-distill"]
    assert (hole["alone"], hole["trained"]) == ("0.000 / 0.000", "0.784 / 0.784")
    assert hole["beside DONUT-hole"] == "what the others stand beside"
    assert (hole["what it is"], hole["source"]) == ("what prune-distill is", "Some 2020")
    assert (found["small"]["alone"], found["small"]["trained"]) == ("", "0.784 / 0.500")


def test_what_was_found_is_what_the_documents_say(records: list[Record]) -> None:
    found = lines(records, teds(records))
    assert found["small"]["beside DONUT-hole"] == (
        "not told apart on receipts-mini (+0.000), worse on parcels-mini (-0.284), one seed"
    )
    assert found["prune-finetune"]["beside DONUT-hole"] == (
        "worse on receipts-mini (-0.023), worse on parcels-mini (-0.023), one seed"
    )


def test_costs_are_shares_of_the_teachers(records: list[Record]) -> None:
    found = lines(records, teds(records))["small"]
    teacher, small = (next(r.efficiency for r in records if r.strategy == name) for name in ("teacher", "small"))
    assert teacher is not None
    assert small is not None
    assert float(found["packed"]) == pytest.approx(small.size_packed_bytes / teacher.size_packed_bytes, abs=0.005)
    assert found["latency"] == "0.54 [0.53, 0.55]"


def test_what_one_data_set_lacks_is_a_gap(records: list[Record]) -> None:
    records = [r for r in records if (r.strategy, r.dataset) != ("small", "parcels-mini")]
    found = lines(records, teds(records))["small"]
    assert found["trained"] == "0.784 / -"
    assert found["beside DONUT-hole"] == "not told apart on receipts-mini (+0.000), one seed"
    assert list(lines(records, teds(records)))[-1] == "small"  # what lacks a score comes last


def test_seeds_take_the_remark_away_and_another_device_changes_nothing(
    records: list[Record], make_record: Make, as_task: Callable[[list[Record]], list[Record]]
) -> None:
    more = as_task([make_record("prune-finetune", dataset, 1) for dataset in TASKS])
    found = lines([*records, *more], teds([*records, *more]))
    assert "one seed" not in found["prune-finetune"]["beside DONUT-hole"]
    elsewhere = [record.model_copy(update={"device": "cuda"}) for record in records[:6]]
    assert lines([*records, *elsewhere], teds(records)) == lines(records, teds(records))


def test_without_the_papers_method_there_is_no_table(records: list[Record]) -> None:
    assert methods_markdown([r for r in records if r.strategy != "prune-distill"], {}) == []


def test_it_stands_in_a_readme_that_asks_for_it(records: list[Record], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path, record)
        own = teds([record])[record.cell]
        read = [
            Prediction(id=name, prediction={}, ground_truth={}, ted=min(1.0, max(0.0, ted)), tp=0, fn=0, fp=0, text="")
            for name, ted in own.items()
        ]
        write_predictions(predictions_path(tmp_path, record.cell), read)
    readme = tmp_path / "README.md"
    readme.write_text(PAGE)
    embed_summary(readme, tmp_path)
    text = readme.read_text()
    assert "\nold\n" not in text
    assert "| prune-finetune" in text.partition("<!-- methods: begin")[2]
    readme.write_text(PAGE.partition("<!-- methods")[0])
    embed_summary(readme, tmp_path)
    assert "what prune-distill is" not in readme.read_text()
