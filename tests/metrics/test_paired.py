"""The paired bootstrap: what it is of, how wide, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.paired import paired_difference


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
    for _ in range(200):
        found = paired_difference(draws.normal(0.3, 1, (1, 60)), draws.normal(0.0, 1, (1, 60)))
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 199


def test_it_covers_the_truth_over_seeds_too() -> None:
    """Equal rows of three checkpoints each, which differ far more than their documents."""
    draws = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        rows = draws.normal(0, 0.02, (2, 3, 1)) + draws.normal(0, 0.05, (2, 3, 100))
        found = paired_difference(*rows)
        hits += found.low <= 0 <= found.high
    assert 170 <= hits <= 199


def test_it_is_the_same_each_time() -> None:
    ours, theirs = np.random.default_rng(4).random((2, 3, 50))
    assert paired_difference(ours, theirs) == paired_difference(ours, theirs)


@pytest.mark.parametrize(("ours", "theirs"), [((1, 2), (1, 3)), ((0, 2), (1, 2)), ((1, 0), (1, 0))])
def test_other_documents_cannot_be_compared(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="are not scores of the same documents"):
        paired_difference(np.zeros(ours), np.zeros(theirs))


def test_scores_that_are_not_finite_cannot_be_compared() -> None:
    broken = np.array([[0.5, np.nan]])
    for pair in ((broken, np.ones((1, 2))), (np.ones((1, 2)), broken)):
        with pytest.raises(ValueError, match="not finite"):
            paired_difference(*pair)
