"""Accuracy by normalised tree edit distance (N-TED), as Donut's evaluator defines it (Kim et al. 2022).

accuracy = max(0, 1 - TED(prediction, ground truth) / TED(empty, ground truth)), on the trees of the
normalised documents. The distance is that of Zhang and Shasha (1989), in integers and exact. The order of
lists matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.trees import Integers, Tree, build_tree, is_text, node_costs, update_costs
from benchmark.types import Json


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
    size = int(node_costs(tree.labels).sum()) - 1  # the empty document is a root, and shares it
    unscorable = size == 0 and true.dropped > 0
    empty = size == 0 and distance == 0 and not unscorable
    accuracy = max(0.0, 1 - distance / size) if size else float(empty and not strict)
    return DocumentTed(accuracy, distance, size, empty, unscorable, predicted.dropped, true.dropped)


def tree_distance(a: Tree, b: Tree) -> int:
    """The exact edit distance of two ordered trees, a non-negative integer."""
    if a == b:
        return 0
    if _is_one_text(a) and _is_one_text(b) and a.labels[1:] == b.labels[1:]:
        return int(update_costs(a.labels[:1], b.labels[:1])[0, 0])
    # The distance is symmetric: the tree with fewer rows goes into Python's loop, the other into numpy's.
    return _zhang_shasha(a, b) if a.relevant <= b.relevant else _zhang_shasha(b, a)


def _is_one_text(tree: Tree) -> bool:
    """Root, key, text, as a reading document: no mapping of two such texts beats editing one in place."""
    return [is_text(label) for label in tree.labels] == [True, False, False]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of the tables of all keyroots of one tree, side by side: (columns,) each.

    A keyroot's table has a column for the empty forest and one for each node of its subtree. Tables stand in
    order of height, so those of one `levels` slice need only those before it. `home` (nodes,) is the column
    where a node's subtree starts at its table's edge; every node has one. `source` is the home of each
    column's node, `before` the column just before the node's subtree, `floor` the value of an empty forest
    (see `_zhang_shasha`).
    """

    home: Integers
    source: Integers
    before: Integers
    floor: Integers
    levels: list[slice]


def _columns(tree: Tree, step: int) -> _Columns:
    home = np.zeros(len(tree.labels), dtype=np.int64)
    leftmost = np.array(tree.leftmost)
    sources, befores, floors = [], [], []
    starts: dict[int, int] = {}
    start = 0
    for rank, root in enumerate(sorted(tree.keyroots, key=lambda root: (tree.heights[root], root))):
        starts.setdefault(tree.heights[root], start)
        first = tree.leftmost[root]
        edge = first + np.flatnonzero(leftmost[first : root + 1] == first)
        home[edge] = start + 1 + edge - first
        sources.append(np.concatenate(([start], home[first : root + 1])))
        befores.append(np.concatenate(([start], start + leftmost[first : root + 1] - first)))
        floors.append(np.full(root - first + 2, -rank * step))
        start += root - first + 2
    bounds = [*starts.values(), start]
    levels = [slice(*pair) for pair in pairwise(bounds)]
    return _Columns(home, np.concatenate(sources), np.concatenate(befores), np.concatenate(floors), levels)


def _zhang_shasha(a: Tree, b: Tree) -> int:
    """Zhang and Shasha's dynamic programme, one row of all of b's tables at a time.

    A cell holds the forest distance minus the cost of inserting its columns so far, minus `step` times the
    rank of its table. Inserting then costs nothing, so that the recurrence along a row is a running minimum;
    and each table lies so far below the one before it that one running minimum serves them all.
    """
    a_costs, b_costs = node_costs(a.labels), node_costs(b.labels)
    columns = _columns(b, step=2 * int(a_costs.sum() + b_costs.sum()) + 1)
    updates = update_costs(a.labels, b.labels) - b_costs
    source_floor = columns.floor[columns.source]
    lift = columns.floor - source_floor
    cells = np.empty((len(a.labels) + 1, len(columns.floor)), dtype=np.int64)
    cells[0] = columns.floor
    subtrees = np.empty((len(a.labels), len(columns.floor)), dtype=np.int64)
    for root in a.keyroots:
        first = a.leftmost[root]
        for node in range(first, root + 1):
            above, row = cells[node - first], cells[node - first + 1]
            np.add(above, a_costs[node], out=row)
            if a.leftmost[node] == first:
                row[columns.home] = np.minimum(row[columns.home], above[columns.home - 1] + updates[node])
                for level in columns.levels:
                    here = np.minimum(row[level], row[columns.source[level]] + lift[level])
                    np.minimum.accumulate(here, out=row[level])
                subtrees[node] = row[columns.source] - source_floor
            else:
                matched = cells[a.leftmost[node] - first][columns.before] + subtrees[node]
                np.minimum.accumulate(np.minimum(row, matched), out=row)
    return int(subtrees[-1, -1] + b_costs.sum())
