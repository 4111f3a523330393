"""The ordered tree of a normalised document, and what its nodes cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from benchmark.types import Json

Integers = NDArray[np.int64]

LEAF = "<leaf>"
"""Marks a label as text. As in Donut's evaluator, it is removed wherever it occurs, and a key with it is
text."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes in post-order, as Zhang and Shasha (1989) number them.

    `costs[v]` is what it costs to insert or remove node v: the length of a text, 1 for an inner node. `leftmost[v]`
    is the first leaf below v. A keyroot is a node that is no first child; `heights[v]` is the largest number of
    keyroots on a way from v down (v excluded), so that a keyroot is higher than every one inside it.
    """

    labels: list[str]
    costs: list[int]
    leftmost: list[int]
    heights: list[int]
    keyroots: list[int]

    @property
    def relevant(self) -> int:
        """Rows that the distance visits: the sizes of the subtrees of all keyroots."""
        return sum(root - self.leftmost[root] + 1 for root in self.keyroots)


def build_tree(value: Json) -> Tree:
    """``<root>`` -> keys -> one ``<subtree>`` for each dict -> ``<leaf>text``, from a normalised value."""
    labels: list[str] = []
    parents: list[int] = []
    stack: list[tuple[str, Json, int]] = [("<root>", value, 0)]
    while stack:  # the last child first: post-order, from its end
        label, content, parent = stack.pop()
        node = len(labels)
        labels.append(label)
        parents.append(parent)
        if isinstance(content, dict):
            stack.extend([(key, below, node) for key, below in content.items()])
        elif content and isinstance(content[0], dict):  # then all are
            stack.extend([("<subtree>", item, node) for item in content])
        else:
            labels.extend([LEAF + item for item in reversed(content)])
            parents.extend([node] * len(content))
    labels.reverse()
    last = len(labels) - 1
    return _number(labels, [last - parent for parent in reversed(parents)])


def _number(labels: list[str], parents: list[int]) -> Tree:
    count = len(labels)
    leftmost = [-1] * count
    heights = [0] * count
    keyroots = []
    for node, parent in enumerate(parents):
        if leftmost[node] < 0:
            leftmost[node] = node
        height = heights[node]
        if leftmost[parent] < 0:
            leftmost[parent] = leftmost[node]
        else:
            keyroots.append(node)  # the root too: it is its own parent here
            height += parent != node
        if heights[parent] < height:
            heights[parent] = height
    return Tree(labels, [_cost(label) for label in labels], leftmost, heights, keyroots)


def _cost(label: str) -> int:
    return len(text_of(label)) if LEAF in label else 1


def is_text(label: str) -> bool:
    return LEAF in label


def text_of(label: str) -> str:
    return label.replace(LEAF, "")


def savings(a: Sequence[str], b: Sequence[str]) -> Integers:
    """What turning node i of `a` into node j of `b` saves, against removing i and inserting j: (len(a), len(b)).

    Text to text costs the Levenshtein distance, inner node to inner node 0 or 1, and text to inner node 1 + the text's
    length, which saves nothing. Computed once for each pair of distinct labels: documents repeat theirs.
    """
    (a_texts, a_names, rows), (b_texts, b_names, columns) = _distinct(a), _distinct(b)
    table = np.zeros((len(a_texts) + len(a_names), len(b_texts) + len(b_names)), dtype=np.int64)
    edits = cdist(a_texts, b_texts, scorer=Levenshtein.distance, dtype=np.int64)
    table[: len(a_texts), : len(b_texts)] = np.add.outer([*map(len, a_texts)], [*map(len, b_texts)]) - edits
    equal = np.array(a_names, dtype=object)[:, None] == np.array(b_names, dtype=object)
    table[len(a_texts) :, len(b_texts) :] = equal + 1
    return table.take(rows, axis=0).take(columns, axis=1)


def _distinct(labels: Sequence[str]) -> tuple[list[str], list[str], list[int]]:
    """The distinct texts, the distinct inner nodes, and where each label stands among them, texts first."""
    distinct = sorted(dict.fromkeys(labels), key=is_text, reverse=True)
    texts = sum(map(is_text, distinct))
    places = {label: place for place, label in enumerate(distinct)}
    return [*map(text_of, distinct[:texts])], distinct[texts:], [places[label] for label in labels]
