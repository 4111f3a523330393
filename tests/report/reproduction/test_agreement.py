"""Spearman's rank correlation of our rows with the paper's."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from benchmark.records.record import Record
from benchmark.report.reproduction.agreement import Agreement, agreements, chance, correlations, spearman
from benchmark.report.reproduction.study import Study

Make = Callable[..., Record]
MakeStudy = Callable[..., Study]
SYSTEMS = ("none", "small", "distill", "prune", "prune-distill")
REPORTED = {"none": 0.92, "small": 0.66, "distill": 0.83, "prune": 0.0, "prune-distill": 0.96}


def table(study: Study, metric: str) -> Agreement:
    (found,) = (one for one in agreements(study) if one.metric == metric)
    return found


@pytest.mark.parametrize(
    ("reported", "measured", "value"),
    [
        ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50], 1.0),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], -1.0),
        # 1 - 6 sum(d^2) / (n (n^2 - 1)) = 1 - 6 * 2 / 120
        ([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], 0.9),
        # equals share 4.5: Pearson's of (1, 2, 3, 4, 5) and (1, 2, 3, 4.5, 4.5) is 9.5 / sqrt(10 * 9.5)
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 4], 9.5 / np.sqrt(95)),
    ],
)
def test_known_orders(reported: list[float], measured: list[float], value: float) -> None:
    assert spearman(reported, measured) == pytest.approx(value)


def test_equals_have_no_order() -> None:
    assert np.isnan(spearman([1, 2, 3], [1, 1, 1]))


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=6))
def test_many_orders_at_once_are_those_of_one(orders: list[list[int]]) -> None:
    reported = list(REPORTED.values())
    found = correlations(reported, np.array(orders, dtype=float))
    for order, value in zip(orders, found, strict=True):
        if len(set(order)) == 1:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(spearmanr(reported, order).statistic)


def test_chance_is_the_share_of_all_orders_that_are_as_far_from_zero() -> None:
    straight = [1.0, 2, 3, 4, 5]
    assert chance(straight, straight) == pytest.approx(2 / 120)  # itself, and its reverse
    assert chance(straight, [1, 2, 3, 5, 4]) == pytest.approx(2 * (1 + 4) / 120)  # with the four swaps of neighbours
    assert chance(straight, [1, 2, 3, 4, 4]) == pytest.approx(4 / 120)  # the two equals may be exchanged
    middle = [3.0, 1, 5, 2, 4]
    far = [abs(spearman(straight, order)) for order in itertools.permutations(middle)]
    expected = sum(value >= abs(spearman(straight, middle)) - 1e-9 for value in far) / 120
    assert chance(straight, middle) == pytest.approx(expected)


def test_a_table_has_both_ranks_and_their_correlation(make_record: Make, make_study: MakeStudy) -> None:
    records = [make_record(name, "synthdog-mini") for name in ("teacher", *SYSTEMS)]
    found = table(make_study(records, dict.fromkeys(SYSTEMS, 0.1)), "N-TED")
    # 0.871, 0.644, 0.733, 0.041 and 0.884 are in the paper's order.
    assert found.systems[0].name == "DONUT-base-0.5M"
    assert (found.systems[-1].reported, found.systems[-1].measured) == (0.96, 0.884)
    assert found.ranks == [(2, 2), (4, 4), (3, 3), (5, 5), (1, 1)]
    assert found.correlation is not None
    assert found.correlation.value == pytest.approx(1.0)


def test_the_interval_is_that_of_other_documents(make_record: Make, make_study: MakeStudy) -> None:
    records = [make_record(name, "synthdog-mini") for name in SYSTEMS]
    apart = table(make_study(records, REPORTED), "N-TED").correlation
    assert apart is not None
    assert (apart.low, apart.high) == pytest.approx((1.0, 1.0))
    equal = table(make_study(records, dict.fromkeys(SYSTEMS, 0.1)), "N-TED").correlation
    assert equal is not None
    assert (equal.low, equal.high) == (None, None)  # in no resample they have an order
    unknown = table(make_study(records, {}), "N-TED").correlation
    assert unknown is not None
    assert (unknown.low, unknown.high) == (None, None)


def test_reading_has_no_f1_and_tasks_have_no_cka(make_record: Make, make_study: MakeStudy) -> None:
    records = [make_record(name, dataset) for name in SYSTEMS for dataset in ("synthdog-mini", "receipts-mini")]
    found = agreements(make_study(records, {}))
    assert [(one.table, one.metric) for one in found] == [(2, "N-TED"), (5, "CKA"), (3, "N-TED"), (3, "F1")]


def test_a_system_without_a_measure_is_left_out(make_record: Make, make_study: MakeStudy) -> None:
    def without_cka(record: Record) -> Record:
        assert record.metrics is not None
        metrics = record.metrics.model_copy(update={"cka": None})
        return record.model_copy(update={"metrics": metrics})

    records = [make_record(name, "synthdog-mini") for name in SYSTEMS]
    one_lacks = [without_cka(record) if record.strategy == "prune" else record for record in records]
    found = table(make_study(one_lacks, {}), "CKA")
    assert [system.name for system in found.systems][-2:] == ["DONUT-small-distilled", "DONUT-hole"]
    assert found.correlation is None  # four equals
    assert not [one for one in agreements(make_study(list(map(without_cka, records)), {})) if one.metric == "CKA"]


def test_two_systems_have_no_correlation(make_record: Make, make_study: MakeStudy) -> None:
    records = [make_record(name, "synthdog-mini") for name in ("small", "distill")]
    assert table(make_study(records, {}), "N-TED").correlation is None
