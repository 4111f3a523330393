"""How like a teacher other models are on the same documents: CKA, its floor and its ceiling."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.metrics.cka import Matrix, gram_matrix, null_matrix, unit_grams
from benchmark.metrics.networks import block_cka, global_cka, index_matched_cka, self_ceiling
from benchmark.scoring.representations import Representations

FEWEST_DOCUMENTS = 4
"""The debiased form takes no fewer."""


class Likeness:
    """Compares models with one teacher, whose Grams are computed once.

    Raises `ValueError` for representations of fewer than `FEWEST_DOCUMENTS`.
    """

    def __init__(self, teacher: Representations) -> None:
        self._teacher = teacher
        self._biased, self._debiased = _grams(teacher, debiased=False), _grams(teacher, debiased=True)
        self._own = gram_matrix(self._biased, self._biased)

    def compare(self, student: Representations) -> dict[str, Any]:
        """The fields of `Metrics` that tell how like the teacher a student is, on the documents of the teacher's.

        NaN where it takes a layer whose features are not finite.
        Raises `ValueError` for representations of other documents or encoders of other depth.
        """
        teacher = self._teacher
        biased, debiased = _grams(student, debiased=False), _grams(student, debiased=True)
        depths = student.encoder_layers, student.decoder_layers, teacher.decoder_layers
        matrix, matrix_debiased = gram_matrix(biased, self._biased), gram_matrix(debiased, self._debiased)
        return {
            "cka": global_cka(matrix, *depths),
            "cka_index_matched": index_matched_cka(matrix, *depths),
            "cka_blocks": block_cka(matrix, gram_matrix(biased, biased), self._own, *depths),
            "cka_debiased": global_cka(matrix_debiased, *depths),
            "cka_null_floor": global_cka(null_matrix(biased, self._biased), *depths),
            "cka_self_ceiling": self_ceiling(self._own, *depths),
            "cka_documents": len(student.layers[0]),
            "layerwise": matrix.tolist(),
            "layerwise_debiased": matrix_debiased.tolist(),
            "layers_student": list(student.names),
            "layers_teacher": list(teacher.names),
        }


def _grams(representations: Representations, debiased: bool) -> Matrix:
    """`unit_grams`, but NaN for a layer whose features are not finite: its CKA does not exist, that of others does."""
    finite = [bool(np.isfinite(layer).all()) for layer in representations.layers]
    pairs = zip(representations.layers, finite, strict=True)
    grams = unit_grams([layer if whole else np.zeros_like(layer) for layer, whole in pairs], debiased)
    grams[~np.array(finite)] = np.nan
    return grams
