"""Zhang and Shasha's edit distance of ordered trees (1989) as machine code, for which numba has to be installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmark.metrics.trees import Integers, Tree, savings


def edit_distance(a: Tree, b: Tree) -> int:
    """The exact distance, as `benchmark.metrics.zhang_shasha.edit_distance` has it, by what mapping saves as there."""
    lists = a.leftmost, a.keyroots, b.leftmost, b.keyroots
    most = _most_saved(savings(a.labels, b.labels), *[np.array(values, dtype=np.int64) for values in lists])
    return sum(a.costs) + sum(b.costs) - int(most)


def _programme(
    saved: Integers, a_leftmost: Integers, a_keyroots: Integers, b_leftmost: Integers, b_keyroots: Integers
) -> int:
    """What mapping two trees onto each other saves at most, if mapping node v to w saves `saved[v, w]`.

    The tables of all of b's keyroots stand side by side, as most are too small for a loop of their own to pay. One has
    a column for the empty forest, `starts`, and one for each node of its subtree: `nodes` says which, `befores` is
    the column just before the node's own subtree.
    """
    count = 0
    for root in b_keyroots:
        count += root - b_leftmost[root] + 2
    nodes, befores = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    starts = np.empty(len(b_keyroots) + 1, dtype=np.int64)
    starts[0] = 0
    for rank, root in enumerate(b_keyroots):
        start, first = starts[rank], b_leftmost[root]
        for node in range(first, root + 1):
            nodes[start + 1 + node - first] = node
            befores[start + 1 + node - first] = start + b_leftmost[node] - first
        starts[rank + 1] = start + root - first + 2
    subtrees = np.empty_like(saved)
    cells = np.zeros((len(a_leftmost) + 1, count), dtype=np.int64)
    for root in a_keyroots:
        first = a_leftmost[root]
        for node in range(first, root + 1):
            above, row = cells[node - first], cells[node - first + 1]
            matched = cells[a_leftmost[node] - first]
            trees, changes = subtrees[node], saved[node]
            on_edge = a_leftmost[node] == first
            for rank in range(len(b_keyroots)):
                start = starts[rank]
                left = 0
                for column in range(start + 1, starts[rank + 1]):
                    left = max(left, above[column])
                    if on_edge and befores[column] == start:
                        left = max(left, above[column - 1] + changes[nodes[column]])
                        trees[nodes[column]] = left
                    else:
                        left = max(left, matched[befores[column]] + trees[nodes[column]])
                    row[column] = left
    return int(subtrees[-1, -1])


def _compile(programme: Any) -> Any:
    """Kept beside this file or, where that cannot be written, in the user's cache; with neither, compiled each time."""
    try:
        return njit(cache=True)(programme)
    except RuntimeError:
        return njit(programme)


_most_saved = _compile(_programme)
