"""One budget, split over the kinds of units."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from benchmark import UserError, mixed
from benchmark.models.donut import Donut
from benchmark.parts.mixed import Mixed
from benchmark.scales import TINY
from benchmark.slicing.donut import units_of
from benchmark.slicing.options import Kind
from benchmark.types import Calibration
from tests.slicing.test_budget import macs
from tests.slicing.test_sliced import Teacher, size


def counts(model: Donut) -> list[int]:
    return [sum(group.count for group in units_of(model, kind)) for kind in get_args(Kind)]


def test_the_budget_is_met_and_every_kind_gives_something(plain: Donut, calibration: Calibration) -> None:
    whole, before = macs(plain), counts(plain)
    start = Mixed(0.5, layers=0.8, width=0.85, heads=0.95)
    model: Any = start(Teacher(plain, calibration), TINY, 0)
    assert macs(model) == pytest.approx(0.5 * whole, rel=0.02)
    assert all(after < count for after, count in zip(counts(model), before, strict=True))


def test_all_look_at_the_same_documents(plain: Donut, calibration: Calibration) -> None:
    teacher = Teacher(plain, calibration)
    Mixed(0.6, width=0.85, heads=0.95, importance="activation", documents=3, draw=2)(teacher, TINY, 0)
    assert teacher.asked == [(3, 2)] * 3


def test_what_is_left_alone_stays(plain: Donut, calibration: Calibration) -> None:
    before, heads = size(plain), sum(group.count for group in units_of(plain, "heads"))
    model: Any = Mixed(0.7, of="parameters")(Teacher(plain, calibration), TINY, 0)
    assert size(model) == pytest.approx(0.7 * before, rel=0.02)
    assert sum(group.count for group in units_of(model, "heads")) == heads


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layers": 0.0}, "layers=0 is no share of what is there"),
        ({"heads": 1.5}, "heads=1.5 is no share of what is there"),
        ({"ratio": 1.0}, "ratio 1 is neither"),
        ({"importance": "size"}, "unknown importance 'size'"),
        ({"of": "bytes"}, "unknown measure of a budget 'bytes'"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Mixed(**{"ratio": 0.5, **options})


def test_a_budget_that_the_others_have_spent_is_told(plain: Donut, calibration: Calibration) -> None:
    with pytest.raises(UserError, match=r"before any FFN unit is cut \d+\.\d% of the macs is left, and not 90\.0%"):
        mixed(0.9, width=0.6)(Teacher(plain, calibration), TINY, 0)


def test_its_text_says_how_it_is_split() -> None:
    assert str(mixed(2, layers=0.83)) == "teacher, cut to 50.0% of its macs: layers to 83%, FFN units to the rest"
