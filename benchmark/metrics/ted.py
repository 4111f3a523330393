"""Accuracy by normalised tree edit distance (N-TED), as Donut's evaluator defines it (Kim et al. 2022).

accuracy = max(0, 1 - TED(prediction, ground truth) / TED(empty, ground truth)), on the trees of the
normalised documents. The distance is that of Zhang and Shasha (1989), in integers and exact. The order of
lists matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.programmes import Programme, Programmes
from benchmark.metrics.trees import Tree, build_tree, is_text, text_of
from benchmark.types import Json

PROGRAMMES = Programmes()
"""Of this process: what it has computed so far decides which one is worth starting."""


@dataclass(frozen=True, slots=True)
class DocumentTed:
    """The score of one document.

    `size` is TED(empty, ground truth). `empty`: ground truth and prediction are both empty, which scores 1
    here and 0 (0 / 0) in Donut's evaluator. `unscorable`: normalisation dropped all that the ground truth
    says, so that even a perfect prediction scores 0. The last two count the values that normalisation
    dropped.
    """

    accuracy: float
    distance: int
    size: int
    empty: bool
    unscorable: bool
    dropped_prediction: int
    dropped_ground_truth: int


def ted_accuracy(prediction: Json, ground_truth: Json, *, strict: bool = False) -> float:
    """N-TED accuracy of one document, in [0, 1].

    `strict`: 0 for two empty documents, as Donut's evaluator has it.
    Raises as `normalize_dict`.
    """
    return ted_document(prediction, ground_truth, strict=strict).accuracy


def ted_document(prediction: Json, ground_truth: Json, *, strict: bool = False) -> DocumentTed:
    """N-TED accuracy of one document, with the numbers behind it. Arguments and errors as `ted_accuracy`."""
    predicted, true = normalize_dict(prediction), normalize_dict(ground_truth)
    tree = build_tree(true.value)
    distance = tree_distance(build_tree(predicted.value), tree)
    size = sum(tree.costs) - 1  # the empty document is a root, and shares it
    unscorable = size == 0 and true.dropped > 0
    empty = size == 0 and distance == 0 and not unscorable
    accuracy = max(0.0, 1 - distance / size) if size else float(empty and not strict)
    return DocumentTed(accuracy, distance, size, empty, unscorable, predicted.dropped, true.dropped)


def tree_distance(a: Tree, b: Tree, programme: Programme = PROGRAMMES.distance) -> int:
    """The exact edit distance of two ordered trees, a non-negative integer."""
    if a == b:
        return 0
    if _is_one_text(a) and _is_one_text(b) and a.labels[1:] == b.labels[1:]:
        return int(Levenshtein.distance(text_of(a.labels[0]), text_of(b.labels[0])))
    # The distance is symmetric: the tree with fewer rows goes into Python's loop, the other into numpy's.
    return programme(a, b) if a.relevant <= b.relevant else programme(b, a)


def _is_one_text(tree: Tree) -> bool:
    """Root, key, text, as a reading document: no mapping of two such texts beats editing one in place."""
    return len(tree.labels) == 3 and [*map(is_text, tree.labels)] == [True, False, False]
