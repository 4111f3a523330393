"""Claims of the paper on rows whose differences are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmark.metrics.paired import holm
from benchmark.records.record import Record
from benchmark.report.reproduction.claims import (
    CLAIMS,
    PAPER,
    TASK,
    UPSTREAM,
    Claim,
    outcomes,
    upstream_documents,
)
from benchmark.report.reproduction.study import Scores, Study

Make = Callable[..., Record]
MakeStudy = Callable[..., Study]
AsTask = Callable[[list[Record]], list[Record]]
CLAIM = Claim("DONUT-hole surpasses DONUT-small", "nowhere", "prune-distill", "small", (PAPER,))


@pytest.fixture
def pair(make_record: Make) -> list[Record]:
    return [make_record(name, "receipts-mini", seed) for name in ("prune-distill", "small") for seed in (0, 1)]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [(0.7, 0.5, "holds"), (0.5, 0.7, "does not hold"), (0.5, 0.5, "not decided")],
)
def test_a_verdict_follows_the_difference(
    ours: float, theirs: float, verdict: str, pair: list[Record], make_study: MakeStudy
) -> None:
    ((found,), untested) = outcomes(make_study(pair, {"prune-distill": ours, "small": theirs}), [CLAIM])
    assert found.verdict == verdict
    assert found.ted.value == pytest.approx(ours - theirs)
    assert found.reported == pytest.approx(0.85 - 0.55)
    assert found.f1 is not None
    assert found.f1.value == pytest.approx(ours - theirs)
    assert untested == []


def test_p_is_corrected_for_all_tests_of_the_page(pair: list[Record], make_study: MakeStudy) -> None:
    study = make_study(pair, {"prune-distill": 0.7, "small": 0.5})
    ((alone,), _) = outcomes(study, [CLAIM])
    found, _ = outcomes(study, [CLAIM] * 300)
    assert alone.p == alone.ted.p
    assert [one.p for one in found] == holm([alone.ted.p] * 300)


def test_reading_has_no_f1(make_record: Make, make_study: MakeStudy) -> None:
    records = [make_record(name, "synthdog-mini") for name in ("prune-distill", "small")]
    ((found,), _) = outcomes(make_study(records, {"prune-distill": 0.7, "small": 0.5}), [CLAIM])
    assert found.f1 is None


def test_what_cannot_be_tested_says_why(pair: list[Record], make_study: MakeStudy) -> None:
    def why(study: Study) -> str:
        tested, (untested,) = outcomes(study, [CLAIM])
        assert tested == []
        return untested.why

    assert why(make_study(pair[:2], {"prune-distill": 0.7})) == "no row of small"
    assert "predictions" in why(make_study(pair, {"prune-distill": 0.7}))
    same = [record.model_copy(update={"model_hash": "0f"}) for record in pair]
    assert why(make_study(same, {"prune-distill": 0.7, "small": 0.7})) == "the two are one and the same checkpoint"
    study = make_study(pair, {"prune-distill": 0.7, "small": 0.5})
    cell = pair[0].cell
    other = Scores(tuple(f"x{name}" for name in study.scores[cell].names), study.scores[cell].values)
    assert why(Study(study.settings, {**study.scores, cell: other})) == "the two have read other documents"


def test_a_protocol_that_was_not_run_is_no_gap(pair: list[Record], make_study: MakeStudy) -> None:
    claim = Claim("x", "y", "prune-distill", "small", (TASK, UPSTREAM))
    assert outcomes(make_study(pair, {"prune-distill": 0.7, "small": 0.5}), [claim]) == ([], [])


def test_protocols_are_compared_across(pair: list[Record], as_task: AsTask, make_study: MakeStudy) -> None:
    """One strategy of either protocol: their checkpoints are drawn apart, so that equals differ by chance."""
    task = [record.model_copy(update={"model_hash": f"task {record.seed}"}) for record in as_task(pair)]
    study = make_study([*pair, *task], {"prune-distill": 0.7})
    claim = Claim("x", "y", "prune-distill", "prune-distill", (UPSTREAM,))
    uneven = {cell: Scores(one.names, one.values * [[[1]], [[0.9]]]) for cell, one in study.scores.items()}
    ((found,), _) = outcomes(Study(study.settings, uneven), [claim])
    assert found.ours.records[0].protocol == "paper"
    assert found.theirs.records[0].protocol == "task"
    assert found.ted.value == 0
    assert found.ted.low < -0.01 < 0.01 < found.ted.high
    assert found.reported is None


def test_upstream_documents_are_those_of_the_steps_before_the_task(make_record: Make) -> None:
    record = make_record("prune-distill", "receipts-mini", steps=3160, documents=25_280, upstream_curve=[(3000, 0.8)])
    assert upstream_documents(record) == 24_000
    assert upstream_documents(make_record("prune-distill", "receipts-mini")) == 0


def test_claims_are_of_strategies_that_there_are(records: list[Record]) -> None:
    known = {record.strategy for record in records} | {"dense-distill"}
    assert {name for claim in CLAIMS for name in (claim.ours, claim.theirs)} <= known
    assert len({claim.text for claim in CLAIMS}) == len(CLAIMS)
