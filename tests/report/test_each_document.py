"""Each document against the baseline: which baseline, which rows, and how many documents lie on either side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.record import Record
from benchmark.report.documents import baseline, scatters, write_documents
from benchmark.report.rows import Row

Make = Callable[..., Record]
DOCUMENTS = ["a", "b", "c", "d"]
NAMES = ("teacher", "none", "small", "prune", "prune-distill")


def made(make_record: Make, **changes: object) -> list[Record]:
    return [make_record(name, "receipts-mini", **changes) for name in NAMES]


def teds(records: list[Record]) -> dict[str, dict[str, float]]:
    own = {"none": [0.5, 0.5, 0.5, 0.5], "small": [0.9, 0.5, 0.1, 0.2]}
    return {r.cell: dict(zip(DOCUMENTS, own.get(r.strategy, [0.8] * 4), strict=True)) for r in records}


@pytest.mark.parametrize(("protocol", "name"), [("paper", "none"), ("task", "teacher")])
def test_the_baseline_is_the_papers_under_its_protocol(protocol: str, name: str, make_record: Make) -> None:
    found = baseline([Row((record,)) for record in made(make_record, protocol=protocol)])
    assert found is not None
    assert found.strategy == name


def test_what_was_not_trained_is_left_out_and_the_reference_is_not(make_record: Make) -> None:
    records = made(make_record)
    found = scatters([Row((record,)) for record in records], teds(records))
    assert [scatter.row.strategy for scatter in found] == ["teacher", "small", "prune-distill"]


def test_documents_are_better_worse_or_equal(make_record: Make) -> None:
    records = made(make_record)
    found = {one.row.strategy: one for one in scatters([Row((record,)) for record in records], teds(records))}
    assert found["small"].shares == (0.25, 0.5)
    assert found["teacher"].shares == (1.0, 0.0)


def test_a_score_is_the_mean_over_checkpoints(make_record: Make) -> None:
    none = make_record("none", "receipts-mini")
    seeds = [make_record("small", "receipts-mini", seed) for seed in (0, 1)]
    known = teds([none, *seeds]) | {seeds[1].cell: dict.fromkeys(DOCUMENTS, 0.7)}
    (found,) = scatters([Row((none,)), Row(tuple(seeds))], known)
    assert found.ours == pytest.approx([0.8, 0.6, 0.4, 0.45])


def test_a_figure_has_a_panel_a_row_and_needs_documents(tmp_path: Path, make_record: Make) -> None:
    records = made(make_record)
    assert write_documents(tmp_path, records, {}) == []
    png, svg = write_documents(tmp_path, records, teds(records))
    assert png.name == "documents-receipts-mini-tiny-paper-quick-100-cpu.png"
    text = svg.read_text(encoding="utf-8")
    assert [text.count(f">{name}<") for name in NAMES] == [1, 0, 1, 0, 1]
    assert ">25 % better<" in text
    assert ">50 % worse<" in text
    assert text.count(">N-TED accuracy of none<") == 1
    before = svg.read_bytes()
    write_documents(tmp_path, records, teds(records))
    assert svg.read_bytes() == before
