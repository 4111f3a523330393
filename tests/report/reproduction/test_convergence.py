"""Steps to nine tenths of the final score, on curves drawn by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmark.records.record import Record
from benchmark.report.reproduction.convergence import races, steps_to
from benchmark.report.reproduction.study import Study

Make = Callable[..., Record]
MakeStudy = Callable[..., Study]
EARLY = [(10, 0.79), (20, 0.8), (30, 0.8)]
LATE = [(10, 0.1), (20, 0.2), (30, 0.5)]
MIDDLE = [(10, 0.1), (20, 0.48), (30, 0.5)]


def test_the_first_step_at_the_level() -> None:
    assert steps_to(LATE, 0.2) == 20
    assert steps_to(LATE, 0.201) == 30
    assert steps_to(LATE, 0.51) is None


@pytest.mark.parametrize(
    ("hole", "distilled", "own", "common"),
    [
        (EARLY, LATE, "holds", "holds"),
        (EARLY, MIDDLE, "holds", "holds"),
        (LATE, LATE, "not decided", "not decided"),
        (LATE, EARLY, "does not hold", "does not hold"),
        # The other ends so low that it comes near its end sooner, and to the common level as soon.
        ([(10, 0.5), (20, 0.5), (30, 0.9)], [(10, 0.5), (20, 0.5), (30, 0.5)], "does not hold", "not decided"),
    ],
)
def test_a_race_is_won_by_who_is_near_the_end_first(
    hole: list[tuple[int, float]],
    distilled: list[tuple[int, float]],
    own: str,
    common: str,
    make_record: Make,
    make_study: MakeStudy,
) -> None:
    records = [
        make_record("prune-distill", "receipts-mini", curve=hole),
        make_record("distill", "receipts-mini", curve=distilled),
        make_record("prune", "receipts-mini"),
    ]
    (race,) = races(make_study(records, {}))
    assert (race.own, race.common) == (own, common)
    assert (race.every, race.steps) == (10, 30)
    assert race.level == pytest.approx(0.9 * min(hole[-1][1], distilled[-1][1]))
    assert [runner.strategy for runner in race.runners] == ["distill", "prune-distill"]


def test_one_late_seed_leaves_it_open(make_record: Make, make_study: MakeStudy) -> None:
    records = [
        make_record("prune-distill", "receipts-mini", 0, curve=EARLY),
        make_record("prune-distill", "receipts-mini", 1, curve=LATE),
        make_record("small", "receipts-mini", curve=LATE),
    ]
    (race,) = races(make_study(records, {}))
    assert race.own == "not decided"
    assert race.runners[-1].own == (10, 30)


def test_who_never_comes_there_is_last(make_record: Make, make_study: MakeStudy) -> None:
    records = [
        make_record("prune-distill", "receipts-mini", curve=EARLY),
        make_record("small", "receipts-mini", 0, curve=[(10, 0.0), (20, 0.0), (30, 0.2)]),
        make_record("small", "receipts-mini", 1, curve=[(10, 0.0), (20, 0.0), (30, 0.8)]),
    ]
    (race,) = races(make_study(records, {}))
    assert race.level == pytest.approx(0.45)
    assert race.runners[0].common == (None, 30)
    assert race.common == "holds"


def test_without_another_curve_there_is_no_race(make_record: Make, make_study: MakeStudy) -> None:
    alone = [make_record("prune-distill", "receipts-mini"), make_record("prune-finetune", "receipts-mini")]
    assert races(make_study(alone, {})) == []
    assert races(make_study([make_record(name, "receipts-mini") for name in ("small", "distill")], {})) == []
