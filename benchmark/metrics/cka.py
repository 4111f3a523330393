"""Linear centred kernel alignment (CKA): how alike two layers represent the same examples.

Kornblith et al. 2019. Two forms. The paper's (DONUT-hole, Eq. 1-2) is biased: it reads well above 0 on
independent features once there are more features than examples, so print it beside its floor, `null_matrix`. The
debiased form takes the unbiased HSIC of Song et al. (2012), as in Nguyen et al. (2021), and is about 0 there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def linear_cka(x: ArrayLike, y: ArrayLike, debiased: bool = False) -> float:
    """CKA of `x` (examples, d1) and `y` (examples, d2), row i being example i in both.

    In [0, 1], or [-1, 1] if debiased; 0 if either tells no example from the others (constant features).
    Raises as `cka_matrix`.
    """
    return float(cka_matrix([x], [y], debiased)[0, 0])


def cka_matrix(xs: Sequence[ArrayLike], ys: Sequence[ArrayLike], debiased: bool = False) -> Matrix:
    """CKA of each layer of `xs` with each of `ys`: (len(xs), len(ys)). A layer is (examples, its width).

    Raises `ValueError` unless there are layers, all matrices of the same examples, at least 2 (4 if
    debiased), with finite features; `TypeError` for what is no real numbers.
    """
    return gram_matrix(unit_grams(xs, debiased), unit_grams(ys, debiased))


def gram_matrix(left: Matrix, right: Matrix) -> Matrix:
    """CKA of each layer of `left` with each of `right`, both `unit_grams`: (layers of left, layers of right).

    NaN in a layer stays in its row or column. Raises `ValueError` unless both are of the same examples.
    """
    _examples(left, right)
    return np.clip(left @ right.T, -1.0, 1.0)


def unit_grams(layers: Sequence[ArrayLike], debiased: bool = False) -> Matrix:
    """The centred Gram matrix of each layer as a vector of length 1: (layers, examples ** 2), fp64.

    The product of two such vectors is their layers' CKA (`gram_matrix`), so keep the teacher's for all students.
    Raises as `cka_matrix`.
    """
    grams = [_unit_gram(_checked(layer, at_least=4 if debiased else 2), debiased) for layer in layers]
    if not grams:
        raise ValueError("CKA of no layers")
    if len({len(gram) for gram in grams}) > 1:
        counts = [len(np.asarray(layer)) for layer in layers]
        raise ValueError(f"CKA compares the same examples, got {counts}")
    return np.stack(grams)


def null_matrix(left: Matrix, right: Matrix) -> Matrix:
    """What CKA reads of these very features when there is nothing to find: (layers of `left`, layers of `right`).

    Its mean over all permutations of one side's examples, which has a closed form: tr(K) tr(L) / ((m - 1) |K| |L|)
    of the centred Grams of m examples. `left` and `right` are `unit_grams`. 0 for the debiased form, whose Grams
    have no diagonal. Raises `ValueError` unless both are of the same examples.
    """
    m = _examples(left, right)
    traces = [grams[:, :: m + 1].sum(axis=1) for grams in (left, right)]
    floors: Matrix = np.outer(*traces) / (m - 1)
    return floors


def _examples(left: Matrix, right: Matrix) -> int:
    counts = [math.isqrt(grams.shape[1]) for grams in (left, right)]
    if counts[0] != counts[1]:
        raise ValueError(f"CKA compares the same examples, got {counts}")
    return counts[0]


def _checked(layer: ArrayLike, at_least: int) -> Matrix:
    x = np.asarray(layer)
    if x.dtype.kind not in "biuf":  # text of digits would become numbers, and complex ones lose a part
        raise TypeError(f"CKA takes real numbers, got {type(layer).__name__} of {x.dtype}")
    x = x.astype(np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"CKA takes (examples, features), got shape {x.shape}")
    if len(x) < at_least:
        raise ValueError(f"this form of CKA takes at least {at_least} examples, got {len(x)}")
    if not np.isfinite(x).all():
        raise ValueError("CKA of features that are not finite")
    return x


def _unit_gram(x: Matrix, debiased: bool) -> Matrix:
    # First off with what all rows share: subtracting a row is exact where a mean of large offsets is not.
    x = x - x[0]
    largest = np.abs(x).max()
    if largest == 0:
        return np.zeros(len(x) ** 2)
    x /= largest  # CKA does not see the scale, but squares of very small or large features would not survive
    x -= x.mean(axis=0)
    gram = x @ x.T
    size = np.linalg.norm(gram)
    if debiased:
        gram = _u_centred(gram)
    # The HSICs' factors (m - 1) ** 2 and m (m - 3) cancel.
    norm = np.linalg.norm(gram)
    # U-centring leaves nothing but rounding of examples that are all equally far apart.
    return gram.ravel() / norm if norm > 1e-12 * size else np.zeros(gram.size)


def _u_centred(gram: Matrix) -> Matrix:
    """U-centring (Szekely and Rizzo 2014): the product of two such is the unbiased HSIC times m (m - 3)."""
    m = len(gram)
    np.fill_diagonal(gram, 0.0)
    sums = gram.sum(axis=0)
    gram = gram - (sums[:, None] + sums[None, :]) / (m - 2) + sums.sum() / ((m - 1) * (m - 2))
    np.fill_diagonal(gram, 0.0)
    return gram
