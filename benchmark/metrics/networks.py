"""One CKA for two networks, whose decoders may differ in depth: three readings, and the ceiling of the first.

All take matrices of layerwise CKA (`benchmark.metrics.cka`), which list the encoder's layers first. Encoder layers
correspond at equal index, and so do decoder layers at equal depth, where the three readings agree. Otherwise each
layer of the shallower decoder corresponds to a run of the deeper one's: 2 to 4 layers gives student layer j the
teacher's 2j and 2j + 1. The paper (DONUT-hole, sec. 3.2) says only that 'the similarity of a network layer is summed
with the corresponding layer in the teacher network'.
NaN in a layer that a reading looks at, a layer without CKA, makes it NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from benchmark.metrics.cka import Matrix

_NOTHING = 1e-6
"""The length of a sum of unit Grams below which it is the rounding of 0."""


def global_cka(
    matrix: ArrayLike, encoder_layers: int, student_decoder_layers: int, teacher_decoder_layers: int
) -> float:
    """Reading A: the mean CKA of all pairs of corresponding layers, a layer of a run by itself.

    `matrix` is (student layers, teacher layers). The paper sums; here the sum is divided by the number of pairs.
    Raises `ValueError` if a decoder has no layer or the matrix another shape.
    """
    depths = encoder_layers, student_decoder_layers, teacher_decoder_layers
    values = _between(matrix, *depths)
    return float(np.mean([values[i, j] for rows, columns in _blocks(*depths) for i in rows for j in columns]))


def index_matched_cka(
    matrix: ArrayLike, encoder_layers: int, student_decoder_layers: int, teacher_decoder_layers: int
) -> float:
    """Reading B: the mean CKA of layers of equal index; the deeper decoder's last ones have no partner.

    `matrix` and errors as `global_cka`.
    """
    values = _between(matrix, encoder_layers, student_decoder_layers, teacher_decoder_layers)
    return float(values.diagonal().mean())


def block_cka(
    matrix: ArrayLike,
    student: ArrayLike,
    teacher: ArrayLike,
    encoder_layers: int,
    student_decoder_layers: int,
    teacher_decoder_layers: int,
) -> float:
    """Reading C: the Grams of each run are summed, then compared; the mean over the layers of the shallower network.

    Each layer's Gram counts with length 1, so that, as in the other readings, the scale of a layer does not matter
    (with raw Grams the last layers of a residual stream, the longest, would drown the others). It is the CKA of the
    run's features side by side, each layer divided by the root of its Gram's length. The sum's inner products are sums
    of layerwise CKA: `student` and `teacher` are the networks' matrices with themselves. 0 where a sum vanishes.
    `matrix` and errors as `global_cka`.
    """
    depths = encoder_layers, student_decoder_layers, teacher_decoder_layers
    values = _between(matrix, *depths)
    ours = _own(student, encoder_layers + student_decoder_layers)
    theirs = _own(teacher, encoder_layers + teacher_decoder_layers)
    found = []
    for rows, columns in _blocks(*depths):
        length = _length(ours, rows) * _length(theirs, columns)
        found.append(0.0 if length < _NOTHING else values[np.ix_(rows, columns)].sum() / length)
    return float(np.clip(found, -1.0, 1.0).mean())


def self_ceiling(
    teacher: ArrayLike, encoder_layers: int, student_decoder_layers: int, teacher_decoder_layers: int
) -> float:
    """The most that `global_cka` reads of any student of this depth: 1 unless its decoder is the shallower one.

    It is what the teacher itself reads in the student's place, with all layers of a run as one: a layer k has a CKA of
    <k, l> with each l of its run, in sum at most the length of the run's summed unit Grams (Cauchy and Schwarz), and
    reaches that if it is their sum. No single layer of the run reads as much, so the ceiling of dropped layers would
    be one that a student may pass. `block_cka` is the share of this ceiling that each block reaches.
    `teacher` is its matrix with itself. Raises as `global_cka`.
    """
    _check_depths(encoder_layers, student_decoder_layers, teacher_decoder_layers)
    own = _own(teacher, encoder_layers + teacher_decoder_layers)
    blocks = list(_blocks(encoder_layers, student_decoder_layers, teacher_decoder_layers))
    pairs = sum(len(rows) * len(columns) for rows, columns in blocks)
    return float(sum(len(rows) * _length(own, columns) for rows, columns in blocks)) / pairs


def _blocks(encoder: int, student: int, teacher: int) -> Iterator[tuple[list[int], list[int]]]:
    """The student's and the teacher's layers that correspond, of which at least one side is a single layer."""
    for layer in range(encoder):
        yield [layer], [layer]
    depth, blocks = max(student, teacher), min(student, teacher)
    for block in range(blocks):
        run = [encoder + layer for layer in range(depth) if layer * blocks // depth == block]
        single = [encoder + block]
        yield (run, single) if student > teacher else (single, run)


def _length(own: Matrix, layers: Sequence[int]) -> float:
    """Of the sum of these layers' unit Grams."""
    # Rounding may take the square of next to nothing below 0.
    return float(np.sqrt(np.maximum(own[np.ix_(layers, layers)].sum(), 0.0)))


def _between(matrix: ArrayLike, encoder: int, student: int, teacher: int) -> Matrix:
    _check_depths(encoder, student, teacher)
    return _of_shape(matrix, (encoder + student, encoder + teacher))


def _own(matrix: ArrayLike, layers: int) -> Matrix:
    return _of_shape(matrix, (layers, layers))


def _of_shape(matrix: ArrayLike, shape: tuple[int, int]) -> Matrix:
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"layerwise CKA has shape {values.shape}, but the models have {shape} layers")
    return values


def _check_depths(encoder: int, student: int, teacher: int) -> None:
    if min(student, teacher) < 1:
        raise ValueError("CKA of two networks takes decoders of at least one layer")
    if encoder < 0:
        raise ValueError(f"an encoder has no {encoder} layers")
