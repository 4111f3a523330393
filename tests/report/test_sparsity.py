"""Score against sparsity: what is a line, and where it falls off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmark.records.record import Record
from benchmark.report.fronts import families
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.rows import Row
from benchmark.report.sparsity import Lines, cliff_sentences, cliffs, write_sparsities

Make = Callable[..., Record]
Teds = dict[str, dict[str, float]]
DOCUMENTS = [f"doc{number}" for number in range(20)]
SCORES = {"0.3": 0.9, "0.5": 0.88, "0.85": 0.82, "0.95": 0.4}
"""What is lost of 0.9: nothing, 0.02, 0.08 and 0.5; the plain row, at 0.738, loses 0.04."""


def sparse(record: Record, sparsity: float) -> Record:
    assert record.efficiency is not None
    sizes = record.efficiency.model_copy(update={"density": 1 - sparsity})
    return record.model_copy(update={"efficiency": sizes})


@pytest.fixture
def swept(make_record: Make) -> list[Record]:
    rows = [make_record("teacher", "receipts-mini", protocol="task")]
    rows.append(sparse(make_record("prune-distill", "receipts-mini", protocol="task"), 0.738))
    for target in SCORES:
        record = make_record("prune-distill", "receipts-mini", protocol="task", options={"target": target})
        rows.append(sparse(record, float(target)))
    return rows


def teds(records: Sequence[Record]) -> Teds:
    """The same score on all documents: intervals have no width."""
    plain = {"teacher": 0.9, "prune-distill": 0.86}
    return {
        r.cell: dict.fromkeys(DOCUMENTS, SCORES.get(r.options.get("target", ""), plain[r.strategy])) for r in records
    }


def lines(records: list[Record], known: Teds) -> Lines:
    (rows,) = families(records).values()
    return cliffs(rows, known)


def test_a_line_has_the_plain_row_at_its_place(swept: list[Record]) -> None:
    ((line, points),) = lines(swept, teds(swept)).items()
    assert line.label == "prune-distill"
    assert [point.sparsity for point in points] == [0.3, 0.5, 0.738, 0.85, 0.95]
    assert [point.over for point in points] == [False, False, False, True, True]


def test_two_sparsities_are_no_line(swept: list[Record]) -> None:
    assert lines(swept[:3], teds(swept)) == {}
    assert len(lines(swept[:4], teds(swept))) == 1


def test_options_that_change_no_sparsity_make_no_line(make_record: Make) -> None:
    rows = [make_record("teacher", "receipts-mini")]
    rows += [make_record("prune", "receipts-mini", options={"temperature": heat}) for heat in ("1", "2", "3", "4")]
    assert lines(rows, {}) == {}


def test_of_one_sparsity_the_row_of_the_most_checkpoints_counts(swept: list[Record], make_record: Make) -> None:
    again = [
        sparse(make_record("prune-distill", "receipts-mini", seed, protocol="task", options={"ratio": "2"}), 0.5)
        for seed in (0, 1)
    ]
    ((_, points),) = lines([*swept, *again], {}).items()
    assert points[1].row == Row(tuple(again))
    assert len(points) == 5


def test_the_cliff_is_named_with_what_is_before_it(swept: list[Record]) -> None:
    rule, _, sentence = cliff_sentences(lines(swept, teds(swept)))
    assert "wholly below -0.05" in rule
    assert sentence == (
        "- prune-distill: at a sparsity of 0.850 (-0.080 [-0.080, -0.080]), after 0.738 (-0.040 [-0.040, -0.040])."
    )


def test_a_line_without_a_cliff_says_so(swept: list[Record]) -> None:
    *_, sentence = cliff_sentences(lines(swept[:4], teds(swept)))
    assert sentence == "- prune-distill: none up to a sparsity of 0.738 (-0.040 [-0.040, -0.040])."


def test_what_falls_off_at_once_has_nothing_before_it(swept: list[Record]) -> None:
    known = {cell: dict.fromkeys(own, 0.9 if cell.startswith("teacher") else 0.1) for cell, own in teds(swept).items()}
    *_, sentence = cliff_sentences(lines(swept, known))
    assert sentence.endswith("at a sparsity of 0.300 (-0.800 [-0.800, -0.800]), the lowest that was tried.")


def test_a_loss_that_is_not_sure_is_no_cliff(swept: list[Record]) -> None:
    """Half of the documents lose nothing and half 0.12: 0.06 in the mean, and less than 0.05 in some resamples."""
    known = teds(swept)
    known[swept[4].cell] = {name: 0.9 - 0.12 * (place % 2) for place, name in enumerate(DOCUMENTS)}
    ((_, points),) = lines(swept, known).items()
    assert [point.over for point in points] == [False, False, False, False, True]


def test_a_figure_is_drawn_with_and_without_documents(swept: list[Record], tmp_path: Path) -> None:
    paths = write_sparsities(tmp_path, swept, {})
    assert [path.name for path in paths] == [
        "sparsity-receipts-mini-tiny-task-quick-100-cpu.png",
        "sparsity-receipts-mini-tiny-task-quick-100-cpu.svg",
    ]
    assert cliff_sentences(lines(swept, {})) == []
    assert ">teacher - 0.05<" in paths[1].read_text(encoding="utf-8")
    assert write_sparsities(tmp_path, swept[:3], {}) == []


def test_the_leaderboard_says_where_it_is_once(swept: list[Record]) -> None:
    text = leaderboard_markdown(swept, teds(swept))
    assert text.count("(figures/sparsity-receipts-mini-tiny-task-quick-100-cpu.png)") == 1
    assert text.count("- prune-distill: at a sparsity of 0.850") == 1
    assert "sparsity-" not in leaderboard_markdown(swept[:3], teds(swept))
