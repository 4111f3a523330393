"""Zhang and Shasha's edit distance of ordered trees (1989), many tables at a time in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmark.metrics.trees import Integers, Tree, savings


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of the tables of all keyroots of one tree, side by side: (columns,) each.

    A keyroot's table has a column for the empty forest and one for each node of its subtree. Tables stand in
    order of height, so those of one `levels` slice need only those before it. `home` (nodes,) is the column
    where a node's subtree starts at its table's edge; every node has one. `source` is the home of each
    column's node, `before` the column just before the node's subtree, `floor` the value of an empty forest
    (see `edit_distance`).
    """

    home: Integers
    source: Integers
    before: Integers
    floor: Integers
    levels: list[slice]


def _columns(tree: Tree, step: int) -> _Columns:
    leftmost, heights = np.array(tree.leftmost), np.array(tree.heights)
    roots = np.array(sorted(tree.keyroots, key=lambda root: (tree.heights[root], root)))
    firsts = leftmost[roots]
    widths = roots - firsts + 2
    ends = np.cumsum(widths)
    starts = ends - widths
    table = np.repeat(np.arange(len(roots)), widths)
    columns = np.arange(ends[-1])
    inside = columns > starts[table]  # not the empty forest
    nodes = (columns - 1 - starts[table] + firsts[table])[inside]
    begins = (leftmost[nodes] - firsts[table[inside]]) + starts[table[inside]]
    before = columns.copy()
    before[inside] = begins
    edge = begins == starts[table[inside]]
    home = np.empty(len(leftmost), dtype=np.int64)
    home[nodes[edge]] = columns[inside][edge]
    source = columns.copy()
    source[inside] = home[nodes]
    new_level = np.flatnonzero(np.diff(heights[roots], prepend=-1))
    levels = [slice(*pair) for pair in pairwise([*starts[new_level].tolist(), int(ends[-1])])]
    return _Columns(home, source, before, table * step, levels)


def _groups(tree: Tree) -> Iterator[tuple[Integers, list[int]]]:
    """Keyroots of the same height and shape, the lowest first: their first leaves, and the shape.

    The shape is `leftmost`, counted from the first leaf, of the nodes of each of their subtrees.
    """
    groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for root in sorted(tree.keyroots, key=lambda root: tree.heights[root]):
        first = tree.leftmost[root]
        shape = tuple([leaf - first for leaf in tree.leftmost[first : root + 1]])
        groups.setdefault((tree.heights[root], shape), []).append(first)
    for (_, shape), firsts in groups.items():
        yield np.array(firsts), list(shape)


def edit_distance(a: Tree, b: Tree) -> int:
    """The exact distance, by Zhang and Shasha's dynamic programme, one row of many tables at a time.

    All of b's tables stand side by side. So do those of a's keyroots of the same height and shape: none needs
    another, and their rows are of the same kind. The items of a receipt are such keyroots, and so are their keys.

    A cell holds what mapping two forests onto each other saves, against removing the one and inserting the other,
    plus `step` times the rank of its table. Removing and inserting then change nothing, so that the recurrence along a
    row is a running maximum; and each table lies so far above the one before it that one running maximum serves them
    all.
    """
    total = sum(a.costs) + sum(b.costs)
    columns = _columns(b, step=total + 1)
    saved = np.zeros((len(a.labels), len(columns.floor)), dtype=np.int64)
    saved[:, columns.home] = savings(a.labels, b.labels)
    source_floor = columns.floor[columns.source]
    lift = columns.floor - source_floor
    subtrees = np.empty_like(saved)
    for firsts, shape in _groups(a):
        cells = np.empty((len(shape) + 1, len(firsts), len(columns.floor)), dtype=np.int64)
        cells[0] = columns.floor
        for offset, leaf in enumerate(shape):
            nodes, above, row = firsts + offset, cells[offset], cells[offset + 1]
            if leaf == 0:
                row[:] = above
                np.maximum(row[:, 1:], above[:, :-1] + saved[nodes, 1:], out=row[:, 1:])
                for level in columns.levels:
                    here = row.take(columns.source[level], axis=1)
                    here += lift[level]
                    np.maximum(here, row[:, level], out=here)
                    np.maximum.accumulate(here, axis=1, out=row[:, level])
                subtrees[nodes] = row.take(columns.source, axis=1) - source_floor
            else:
                matched = cells[leaf].take(columns.before, axis=1)
                matched += subtrees.take(nodes, axis=0)
                np.maximum(matched, above, out=matched)
                np.maximum.accumulate(matched, axis=1, out=row)
    return total - int(subtrees[-1, -1])
