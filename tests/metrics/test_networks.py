"""Three readings of CKA for decoders of unequal depth: by hand, against the features themselves, and against bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmark.metrics import linear_cka
from benchmark.metrics.cka import cka_matrix
from benchmark.metrics.networks import block_cka, global_cka, index_matched_cka, self_ceiling

Array = NDArray[Any]
Layers = Sequence[Array]
FORMS = pytest.mark.parametrize("debiased", [False, True], ids=["paper", "debiased"])
DEPTHS = st.tuples(st.integers(0, 2), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))


def network(seed: int, depth: int, m: int = 12) -> list[Array]:
    """A residual stream: each layer adds to the one before it, so that they are alike and grow."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((m, 4))
    return [start := start + rng.standard_normal((m, 4)) * rng.uniform(0.2, 3) for _ in range(depth)]


def readings(student: Layers, teacher: Layers, encoder: int, debiased: bool = False) -> tuple[float, float, float]:
    """A, B and C of two networks."""
    depths = encoder, len(student) - encoder, len(teacher) - encoder
    matrix = cka_matrix(student, teacher, debiased)
    ours, theirs = cka_matrix(student, student, debiased), cka_matrix(teacher, teacher, debiased)
    return global_cka(matrix, *depths), index_matched_cka(matrix, *depths), block_cka(matrix, ours, theirs, *depths)


def ceiling(teacher: Layers, encoder: int, student_depth: int) -> float:
    return self_ceiling(cka_matrix(teacher, teacher), encoder, student_depth, len(teacher) - encoder)


def side_by_side(layers: Layers) -> Array:
    """The features of several layers as those of one, each at the scale at which its centred Gram has length 1."""
    centred = [layer - layer.mean(0) for layer in layers]
    return np.hstack([layer / np.sqrt(np.linalg.norm(layer @ layer.T)) for layer in centred])


def test_equal_depth_averages_the_diagonal() -> None:
    matrix = np.random.default_rng(0).random((6, 6))
    assert global_cka(matrix, 2, 4, 4) == pytest.approx(np.trace(matrix) / 6)


def test_two_decoder_layers_against_four() -> None:
    matrix = np.zeros((4, 6))
    pairs = {(0, 0): 0.9, (1, 1): 0.8, (2, 2): 0.7, (2, 3): 0.6, (3, 4): 0.5, (3, 5): 0.4}
    for pair, value in pairs.items():
        matrix[pair] = value
    assert global_cka(matrix, 2, 2, 4) == pytest.approx(sum(pairs.values()) / 6)
    assert global_cka(matrix.T, 2, 4, 2) == pytest.approx(sum(pairs.values()) / 6)
    matrix[2, 4] = matrix[0, 2] = matrix[3, 2] = 99  # layers that do not correspond
    assert global_cka(matrix, 2, 2, 4) == pytest.approx(sum(pairs.values()) / 6)


def test_a_decoder_of_one_layer_is_paired_with_all() -> None:
    assert global_cka(np.array([[0.5, 9, 9], [9, 0.3, 0.1]]), 1, 1, 2) == pytest.approx((0.5 + 0.3 + 0.1) / 3)


def test_depths_that_do_not_divide_pair_every_layer() -> None:
    # Teacher layers 0 and 1 go to student layer 0, 2 to 1, 3 to 2.
    matrix = np.arange(12.0).reshape(3, 4)
    assert global_cka(matrix, 0, 3, 4) == pytest.approx((0 + 1 + 6 + 11) / 4)


# --- reading B ---


def test_layers_of_equal_index_leave_the_deeper_decoders_last_ones() -> None:
    matrix = np.full((4, 6), 99.0)
    np.fill_diagonal(matrix, [0.9, 0.8, 0.7, 0.6])
    assert index_matched_cka(matrix, 2, 2, 4) == pytest.approx(0.75)
    assert index_matched_cka(matrix.T, 2, 4, 2) == pytest.approx(0.75)


# --- reading C ---


def test_a_run_is_compared_as_one_layer() -> None:
    student, teacher = network(0, 3), network(1, 5)
    by_hand = [
        linear_cka(student[0], teacher[0]),
        linear_cka(student[1], side_by_side(teacher[1:3])),
        linear_cka(student[2], side_by_side(teacher[3:5])),
    ]
    assert readings(student, teacher, encoder=1)[2] == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert readings(teacher, student, encoder=1)[2] == pytest.approx(np.mean(by_hand), abs=1e-12)


def test_known_grams_in_a_run() -> None:
    """Grams of length 1, at right angles: their sum has length sqrt(2), and half of the student lies along each."""
    matrix = [[np.sqrt(0.5), np.sqrt(0.5)]]
    assert block_cka(matrix, [[1.0]], np.eye(2), 0, 1, 2) == pytest.approx(1.0)
    assert block_cka([[0.6, 0.0]], [[1.0]], np.eye(2), 0, 1, 2) == pytest.approx(0.6 / np.sqrt(2))
    assert block_cka([[0.6], [0.0]], np.eye(2), [[1.0]], 0, 2, 1) == pytest.approx(0.6 / np.sqrt(2))


def test_the_scale_of_a_layer_does_not_matter_to_any_reading() -> None:
    student, teacher = network(2, 2), network(3, 4)
    scaled = [layer * scale + 7 for layer, scale in zip(teacher, (1e3, 1, 1e-3, 50), strict=True)]
    assert readings(student, scaled, 0) == pytest.approx(readings(student, teacher, 0), abs=1e-9)
    assert ceiling(scaled, 0, 2) == pytest.approx(ceiling(teacher, 0, 2), abs=1e-9)


def test_constant_layers_are_like_nothing() -> None:
    constant, other = np.ones((12, 3)), network(4, 2)
    assert readings([constant], other, 0) == (0, 0, 0)
    assert readings(other, [constant], 0) == (0, 0, 0)
    opposite = [[1.0, -1.0], [-1.0, 1.0]]  # debiased Grams may cancel
    assert block_cka([[0.3, -0.3]], [[1.0]], opposite, 0, 1, 2) == 0


# --- all three ---


@FORMS
@given(depth=st.integers(1, 4), encoder=st.integers(0, 2), seed=st.integers(0, 10**6))
def test_they_agree_at_equal_depth(debiased: bool, depth: int, encoder: int, seed: int) -> None:
    student, teacher = network(seed, encoder + depth), network(seed + 1, encoder + depth)
    each = [linear_cka(x, y, debiased) for x, y in zip(student, teacher, strict=True)]
    assert readings(student, teacher, encoder, debiased) == pytest.approx([np.mean(each)] * 3, abs=1e-12)


@given(DEPTHS)
def test_they_are_the_same_from_either_side_and_for_rotated_features(depths: tuple[int, int, int, int]) -> None:
    encoder, shallow, deep, seed = depths
    student, teacher = network(seed, encoder + shallow), network(seed + 1, encoder + deep)
    found = readings(student, teacher, encoder)
    assert readings(teacher, student, encoder) == pytest.approx(found, abs=1e-12)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))
    assert readings([layer @ rotation for layer in student], teacher, encoder) == pytest.approx(found, abs=1e-9)
    assert all(0 <= value <= 1 for value in found)


# --- the ceiling ---


@given(DEPTHS)
def test_no_student_passes_the_ceiling_and_the_teachers_runs_as_layers_reach_it(
    depths: tuple[int, int, int, int],
) -> None:
    encoder, own, others, seed = depths
    teacher = network(seed, encoder + others)
    highest = ceiling(teacher, encoder, own)
    assert highest <= 1 + 1e-12
    assert readings(network(seed + 1, encoder + own), teacher, encoder)[0] <= highest + 1e-12
    # The runs, written down once more: teacher layer t goes to t * own // others, or student layers share one.
    decoder = teacher[encoder:]
    if own <= others:
        runs = [[layer for t, layer in enumerate(decoder) if t * own // others == j] for j in range(own)]
    else:
        runs = [[decoder[j * others // own]] for j in range(own)]
    best = [*teacher[:encoder], *map(side_by_side, runs)]
    assert readings(best, teacher, encoder)[0] == pytest.approx(highest, abs=1e-9)
    assert readings(best, teacher, encoder)[2] == pytest.approx(1, abs=1e-9)
    dropped = [*teacher[:encoder], *(run[0] for run in runs)]
    assert readings(dropped, teacher, encoder)[0] <= highest + 1e-12


@pytest.mark.parametrize("depth", [4, 5, 8])
def test_the_ceiling_of_students_as_deep_or_deeper_is_1(depth: int) -> None:
    assert ceiling(network(5, 6), 2, depth) == pytest.approx(1, abs=1e-12)


def test_the_ceiling_of_known_runs() -> None:
    """An encoder layer, and runs of two layers: one whose layers are the same, one whose layers are unlike."""
    own = np.eye(5)
    own[1, 2] = own[2, 1] = 1
    assert self_ceiling(own, 1, 2, 4) == pytest.approx((1 + 2 + np.sqrt(2)) / 5)


def test_blocks_are_the_share_of_the_ceiling() -> None:
    student, teacher = network(6, 1), network(7, 3)
    index, _, blocks = readings(student, teacher, 0)
    assert index == pytest.approx(blocks * ceiling(teacher, 0, 1))
    assert ceiling(teacher, 0, 1) < 0.99


# --- errors ---


def square(matrix: Array, *depths: int) -> float:
    return block_cka(matrix, np.eye(4), np.eye(6), *depths)


@pytest.mark.parametrize("reading", [global_cka, index_matched_cka, square])
def test_a_matrix_of_another_shape_is_an_error(reading: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 6\), but the models have \(6, 6\)"):
        reading(np.zeros((4, 6)), 2, 4, 4)
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        reading(np.zeros(0), 2, 4, 4)
    with pytest.raises(ValueError, match="at least one layer"):
        reading(np.zeros((2, 6)), 2, 0, 4)
    with pytest.raises(ValueError, match="no -1 layers"):
        reading(np.zeros((3, 3)), -1, 4, 4)


def test_networks_of_another_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 5\), but the models have \(4, 4\)"):
        block_cka(np.zeros((4, 6)), np.eye(5), np.eye(6), 2, 2, 4)
    with pytest.raises(ValueError, match=r"shape \(5, 5\), but the models have \(6, 6\)"):
        block_cka(np.zeros((4, 6)), np.eye(4), np.eye(5), 2, 2, 4)
    with pytest.raises(ValueError, match=r"shape \(5, 5\), but the models have \(6, 6\)"):
        self_ceiling(np.eye(5), 2, 2, 4)
    with pytest.raises(ValueError, match="at least one layer"):
        self_ceiling(np.eye(5), 2, 0, 3)


def test_what_has_no_cka_has_no_reading() -> None:
    matrix, own = np.eye(4, 6), np.eye(6)
    matrix[3] = np.nan
    ours = np.eye(4)
    ours[3] = ours[:, 3] = np.nan
    assert np.isnan([global_cka(matrix, 2, 2, 4), index_matched_cka(matrix, 2, 2, 4)]).all()
    assert np.isnan(block_cka(matrix, ours, own, 2, 2, 4))
    own[5] = own[:, 5] = np.nan
    assert np.isnan(self_ceiling(own, 2, 2, 4))
    assert np.isnan(block_cka(np.eye(4, 6), np.eye(4), own, 2, 2, 4))
