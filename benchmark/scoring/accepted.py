"""Documents with several ground truths: the one that a prediction is scored by."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metrics import ted_accuracy
from benchmark.metrics.f1 import f1_from_counts, field_counts
from benchmark.types import Json


def best_ted(prediction: Json, truths: Sequence[Json]) -> float:
    """The N-TED accuracy of a prediction with the ground truth that it agrees with best."""
    return max(ted_accuracy(prediction, truth) for truth in truths)


def nearest(prediction: Json, truths: Sequence[Json]) -> Json:
    """The ground truth that a prediction agrees with best: in N-TED accuracy, of equals in field F1, then the first."""
    if len(truths) == 1:
        return truths[0]
    return max(truths, key=lambda truth: (ted_accuracy(prediction, truth), _f1(prediction, truth)))


def _f1(prediction: Json, truth: Json) -> float:
    return f1_from_counts([field_counts(prediction, truth)])
