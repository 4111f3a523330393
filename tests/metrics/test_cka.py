"""CKA against the sums of its definition, its invariances, and features that break careless arithmetic."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.metrics import linear_cka
from benchmark.metrics.cka import cka_matrix, gram_matrix, null_matrix, unit_grams
from benchmark.metrics.networks import global_cka

Array = NDArray[Any]
FORMS = pytest.mark.parametrize("debiased", [False, True], ids=["paper", "debiased"])


def related(seed: int, m: int = 30, d_x: int = 6, d_y: int = 9) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, d_x))
    return x, x @ rng.standard_normal((d_x, d_y)) + rng.standard_normal((m, d_y))


def paper_hsic(k: Array, q: Array) -> float:
    """Eq. 1, with the centring matrix H."""
    m = len(k)
    h = np.eye(m) - np.ones((m, m)) / m
    return float((h @ k @ h).ravel() @ (h @ q @ h).ravel() / (m - 1) ** 2)


def unbiased_hsic(k: Array, q: Array) -> float:
    """Song et al. 2012, Eq. 5."""
    m, one = len(k), np.ones(len(k))
    k, q = k - np.diag(np.diag(k)), q - np.diag(np.diag(q))
    total = np.trace(k @ q) + (one @ k @ one) * (one @ q @ one) / ((m - 1) * (m - 2))
    total -= 2 / (m - 2) * (one @ k @ q @ one)
    return float(total / (m * (m - 3)))


def oracle(x: Array, y: Array, debiased: bool) -> float:
    hsic = unbiased_hsic if debiased else paper_hsic
    k, q = x @ x.T, y @ y.T
    return float(hsic(k, q) / np.sqrt(hsic(k, k) * hsic(q, q)))


@FORMS
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_definition(seed: int, debiased: bool) -> None:
    m = (4, 5, 7, 30)[seed % 4]
    x, y = related(seed, m)
    assert linear_cka(x, y, debiased) == pytest.approx(oracle(x, y, debiased), abs=1e-12)


@FORMS
def test_the_matrix_holds_every_pair(debiased: bool) -> None:
    xs = [*related(0), related(1)[1]]
    ys = [related(2)[0], xs[1]]
    matrix = cka_matrix(xs, ys, debiased)
    assert matrix.shape == (3, 2)
    np.testing.assert_allclose(matrix, [[oracle(x, y, debiased) for y in ys] for x in xs], atol=1e-12)
    assert matrix[1, 1] == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(matrix, gram_matrix(unit_grams(xs, debiased), unit_grams(ys, debiased)))


@FORMS
def test_is_symmetric_and_blind_to_rotation_scale_and_shift(debiased: bool) -> None:
    x, y = related(3)
    value = linear_cka(x, y, debiased)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    for other in (x @ rotation, x * 1e-3, x * -7e200, x * 1e-200, x + 1e4):
        assert linear_cka(other, y, debiased) == pytest.approx(value, abs=1e-9)
    assert linear_cka(y, x, debiased) == pytest.approx(value, abs=1e-12)
    assert linear_cka(x * np.arange(1, 7), y, debiased) != pytest.approx(value, abs=1e-3)


def test_the_papers_form_is_the_default() -> None:
    x, y = related(3)
    assert linear_cka(x, y) == linear_cka(x, y, debiased=False) != linear_cka(x, y, debiased=True)
    assert cka_matrix([x], [y])[0, 0] == linear_cka(x, y)
    np.testing.assert_array_equal(unit_grams([x]), unit_grams([x], debiased=False))


@FORMS
def test_bytes_and_half_precision_are_features_too(debiased: bool) -> None:
    x, y = related(3)
    coarse = (x * 40 + 128).clip(0, 255).astype(np.uint8)  # differences of bytes would wrap
    expected = oracle(coarse.astype(np.float64), y, debiased)
    assert linear_cka(coarse, y, debiased) == pytest.approx(expected, abs=1e-12)
    half = x.astype(np.float16)
    assert linear_cka(half, y, debiased) == pytest.approx(oracle(half.astype(np.float64), y, debiased), abs=1e-12)


@FORMS
def test_features_of_0_and_1_count(debiased: bool) -> None:
    x, y = related(3)
    binary = (x > 0).astype(float)
    assert linear_cka(binary, y, debiased) == pytest.approx(oracle(binary, y, debiased), abs=1e-12)


def test_two_examples_are_enough_for_the_papers_form_and_four_for_the_debiased() -> None:
    assert linear_cka([[1.0, 2.0], [3.0, 5.0]], [[0.0], [7.0]]) == pytest.approx(1)
    x, y = related(3, m=3)
    assert linear_cka(x, y) == pytest.approx(oracle(x, y, debiased=False), abs=1e-12)


@FORMS
def test_does_not_lose_single_precision_features_on_a_large_offset(debiased: bool) -> None:
    x, y = related(4)
    shifted = (x + 1000).astype(np.float32)
    exact = oracle(shifted.astype(np.float64) - 1000, y, debiased)  # what is left of x after rounding at 1000
    assert linear_cka(shifted, y.astype(np.float32), debiased) == pytest.approx(exact, abs=1e-6)


@FORMS
@pytest.mark.parametrize("row", [[0.0], [0.1, 0.7, 1e6, 1 / 3]])
def test_constant_features_are_like_nothing(debiased: bool, row: list[float]) -> None:
    x, _ = related(5)
    constant = np.tile(row, (30, 1))  # the mean of 30 times 0.1 is not 0.1
    assert linear_cka(constant, x, debiased) == linear_cka(x, constant, debiased) == 0
    assert linear_cka(constant, constant, debiased) == 0


def test_debiased_examples_that_are_equally_far_apart_are_like_nothing() -> None:
    assert linear_cka(np.eye(30) + 0.1, related(6)[0], debiased=True) == 0


def test_the_bounds_hold_in_spite_of_rounding() -> None:
    values = [linear_cka(x, 3 * x) for x, _ in map(related, range(50))]
    assert max(values) <= 1
    assert min(values) > 1 - 1e-12


@FORMS
def test_wrong_features_are_errors(debiased: bool) -> None:
    x, y = related(7)
    broken = x.copy()
    broken[3, 2] = np.nan
    for bad, message in [
        (broken, "not finite"),
        (broken * np.inf, "not finite"),
        (x[:-1], "same examples"),
        (x[:, 0], r"got shape \(30,\)"),
        (x[:, :0], r"got shape \(30, 0\)"),
        (x[: 3 if debiased else 1], "at least"),
        (x[:0], "at least"),
    ]:
        for pair in ((bad, y), (y, bad)):
            with pytest.raises(ValueError, match=message):
                linear_cka(*pair, debiased)
    no_numbers: list[Any] = ["text", {"a": x}, [{"a": 1.0}] * 30, x.astype(str), x + 1j, None]
    for other in no_numbers:
        for pair in ((other, y), (y, other)):
            with pytest.raises(TypeError, match="CKA takes real numbers, got"):
                linear_cka(*pair, debiased)
    with pytest.raises(ValueError, match="no layers"):
        cka_matrix([], [x], debiased)
    with pytest.raises(ValueError, match=r"same examples, got \[30, 29\]"):
        cka_matrix([x, x[1:]], [x], debiased)
    for compare in (gram_matrix, null_matrix):
        with pytest.raises(ValueError, match=r"same examples, got \[29, 30\]"):
            compare(unit_grams([x[1:]], debiased), unit_grams([x], debiased))
    with pytest.raises(ValueError, match=r"same examples, got \[29, 30\]"):
        cka_matrix([x[1:]], [x], debiased)


def test_a_layer_without_cka_leaves_that_of_others() -> None:
    grams = unit_grams(related(7))
    broken = grams.copy()
    broken[0] = np.nan
    matrix = gram_matrix(broken, grams)
    assert np.isnan(matrix[0]).all()
    np.testing.assert_allclose(matrix[1], gram_matrix(grams, grams)[1], rtol=1e-12)


# --- what it reads where nothing is related ---


def few_directions(seed: int, m: int, widths: tuple[int, ...]) -> list[Array]:
    """Layers like those of real models: wide, but the examples differ in a few strong directions, on an offset."""
    rng = np.random.default_rng(seed)
    strong = rng.standard_normal((m, 4)) * [9, 4, 2, 1]
    return [
        strong @ rng.standard_normal((4, width))
        + 0.1 * rng.standard_normal((m, width))
        + 5 * rng.standard_normal(width)
        for width in widths
    ]


@FORMS
def test_the_floor_is_the_mean_over_all_permutations(debiased: bool) -> None:
    xs, ys = few_directions(0, 6, (3, 20)), few_directions(1, 6, (8, 2, 40))
    every = [cka_matrix(xs, [y[list(order)] for y in ys], debiased) for order in permutations(range(6))]
    floors = null_matrix(unit_grams(xs, debiased), unit_grams(ys, debiased))
    np.testing.assert_allclose(floors, np.mean(every, axis=0), atol=1e-12)
    assert np.allclose(floors, 0, atol=1e-12) == debiased


def test_the_floor_of_wide_features_is_low_and_averages_the_pairs_of_the_global_cka() -> None:
    """Isotropic noise of these sizes reads 0.5 and more."""
    xs, ys = few_directions(2, 100, (96, 96, 96, 96)), few_directions(3, 100, (96, 128, 96, 96, 96, 96))
    rng = np.random.default_rng(4)
    orders = [rng.permutation(100) for _ in range(200)]
    drawn = [global_cka(cka_matrix(xs, [y[order] for y in ys]), 2, 2, 4) for order in orders]
    floor = global_cka(null_matrix(unit_grams(xs), unit_grams(ys)), 2, 2, 4)
    assert floor == pytest.approx(np.mean(drawn), abs=0.002)
    assert floor < 0.05
    assert linear_cka(rng.standard_normal((100, 96)), rng.standard_normal((100, 96))) > 0.45


def test_constant_features_have_no_floor_above_0() -> None:
    x, y = related(5)
    floors = null_matrix(unit_grams([np.ones((30, 3)), x]), unit_grams([y]))
    assert floors[0, 0] == 0 < floors[1, 0]
