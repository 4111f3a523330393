"""The paired bootstrap: what it is of, how wide, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.metrics.paired import Bootstrap, Difference, Floats, detectable, holm, mean_score, paired_difference


def test_the_value_is_the_difference_of_the_means() -> None:
    ours, theirs = np.array([[1.0, 0.5], [0.5, 0.0]]), np.array([[0.25, 0.25]])
    assert paired_difference(ours, theirs).value == pytest.approx(0.25)
    assert paired_difference(theirs, ours).value == pytest.approx(-0.25)


def test_what_all_documents_share_is_no_noise() -> None:
    """Documents differ widely, and the rows by the same everywhere: paired, that is certain."""
    hard = np.random.default_rng(0).random((1, 100))
    found = paired_difference(hard + 0.01, hard)
    assert [found.low, found.high] == pytest.approx([0.01, 0.01])


def test_over_documents_it_is_as_wide_as_the_normal_interval() -> None:
    ours, theirs = np.random.default_rng(1).normal(size=(2, 1, 400))
    found = paired_difference(ours, theirs)
    deviation = (ours - theirs).std() / 400**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.08)
    assert found.low < found.value < found.high


def test_seeds_that_differ_make_it_wider() -> None:
    scores = np.random.default_rng(2).random((1, 100))
    seeds = np.concatenate([scores - 0.1, scores, scores + 0.1])
    one, several = paired_difference(scores, scores), paired_difference(seeds, scores)
    assert (one.low, one.high) == (0, 0)
    assert several.value == pytest.approx(0)
    assert several.low < -0.05
    assert several.high > 0.05


def test_it_covers_the_truth_nineteen_times_in_twenty() -> None:
    draws = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        found = paired_difference(draws.normal(0.3, 1, (1, 60)), draws.normal(0.0, 1, (1, 60)))
        hits += found.low <= 0.3 <= found.high
    assert 89 <= hits <= 100


def test_it_covers_the_truth_over_seeds_too() -> None:
    """Equal rows of three checkpoints each, which differ far more than their documents."""
    draws = np.random.default_rng(5)
    hits = 0
    for _ in range(100):
        rows = draws.normal(0, 0.02, (2, 3, 1)) + draws.normal(0, 0.05, (2, 3, 100))
        found = paired_difference(*rows)
        hits += found.low <= 0 <= found.high
    assert 84 <= hits <= 100


def test_it_is_the_same_each_time() -> None:
    ours, theirs = np.random.default_rng(4).random((2, 3, 50))
    assert paired_difference(ours, theirs) == paired_difference(ours, theirs)


@pytest.mark.parametrize(("ours", "theirs"), [((1, 2), (1, 3)), ((0, 2), (1, 2)), ((1, 0), (1, 0))])
def test_other_documents_cannot_be_compared(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="are not scores of the same documents"):
        paired_difference(np.zeros(ours), np.zeros(theirs))


def test_over_documents_it_is_the_interval_of_scipy() -> None:
    apart = np.random.default_rng(6).exponential(size=(1, 80)) - 0.8
    theirs = stats.bootstrap((apart[0],), np.mean, n_resamples=10_000, method="percentile", random_state=0)
    found = paired_difference(apart, np.zeros((1, 80)))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert found.deviation == pytest.approx(theirs.standard_error, rel=0.05)


def test_its_p_value_is_that_of_the_t_test_where_that_holds() -> None:
    ours, theirs = np.random.default_rng(7).normal(size=(2, 1, 400))
    for shift in (0.0, 0.1, 0.15):
        expected = stats.ttest_rel((ours + shift)[0], theirs[0]).pvalue
        assert paired_difference(ours + shift, theirs).p == pytest.approx(expected, abs=0.02)


def test_equal_rows_have_a_p_value_of_one_and_none_has_zero() -> None:
    scores = np.random.default_rng(8).random((1, 50))
    assert paired_difference(scores, scores).p == 1
    assert 0 < paired_difference(scores + 1, scores).p < 0.001


def test_many_rows_are_compared_as_two_are() -> None:
    rows = {name: np.random.default_rng(9).random((seeds, 40)) for name, seeds in (("a", 1), ("b", 3), ("c", 2))}
    bootstrap = Bootstrap(40)
    samples = {name: bootstrap.sample(values, name) for name, values in rows.items()}
    for one, other in (("a", "b"), ("c", "b")):
        pair = paired_difference(rows[one], rows[other], mean_score, (one, other))
        assert samples[one].minus(samples[other]) == pair


def test_a_row_has_an_interval_of_its_own() -> None:
    scores = np.random.default_rng(10).random((1, 500))
    low, high = Bootstrap(500).sample(scores, "row").interval
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, scores.mean(), scores.std() / 500**0.5), abs=0.003)


@pytest.mark.parametrize("values", [np.zeros((1, 3)), np.zeros((0, 2)), np.zeros(2), np.array([[0.0, np.nan]])])
def test_what_is_no_score_of_each_document_is_refused(values: Floats) -> None:
    with pytest.raises(ValueError, match="values"):
        Bootstrap(2).sample(values, "row")
    with pytest.raises(ValueError, match="no documents"):
        Bootstrap(0)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    """The example of Holm (1979) in the way in which textbooks compute it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, float("nan")])


def test_holm_is_wrong_in_one_table_of_twenty() -> None:
    draws = np.random.default_rng(11).random((2000, 12))
    wrong = sum(min(holm(table.tolist())) < 0.05 for table in draws)
    assert 0.03 < wrong / 2000 < 0.07


def test_what_can_be_detected_is_found_four_times_in_five() -> None:
    """The power of the t test at the difference that is named."""
    apart = np.random.default_rng(12).normal(size=(1, 300))
    least = detectable([paired_difference(apart, np.zeros((1, 300)))])
    assert least is not None
    power = stats.norm.sf(stats.norm.isf(0.025) - least / (apart.std() / 300**0.5))
    assert power == pytest.approx(0.8, abs=0.03)


def test_of_rows_that_are_the_same_nothing_is_known() -> None:
    assert detectable([]) is None
    assert detectable([Difference(0.0, 0.0, 0.0, 1.0, 0.0)]) is None


def test_scores_that_are_not_finite_cannot_be_compared() -> None:
    broken = np.array([[0.5, np.nan]])
    for pair in ((broken, np.ones((1, 2))), (np.ones((1, 2)), broken)):
        with pytest.raises(ValueError, match="not finite"):
            paired_difference(*pair)
