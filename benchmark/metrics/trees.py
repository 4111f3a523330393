"""The ordered tree of a normalised document, and what its nodes cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    `leftmost[v]` is the first leaf below v. A keyroot is a node that is no first child; `heights[v]` is the
    largest number of keyroots on a way from v down (v excluded), so that a keyroot is higher than every one
    inside it.
    """

    labels: list[str]
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
        stack.extend((*child, len(labels)) for child in _children(content))
        labels.append(label)
        parents.append(parent)
    last = len(labels) - 1
    return _number(labels[::-1], [last - parent for parent in reversed(parents)])


def _children(content: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(content, dict):
        yield from content.items()
    else:
        for item in content:
            yield ("<subtree>", item) if isinstance(item, dict) else (LEAF + item, ())


def _number(labels: list[str], parents: list[int]) -> Tree:
    count = len(labels)
    leftmost = [-1] * count
    heights = [0] * count
    keyroots = []
    for node in range(count):
        if leftmost[node] < 0:
            leftmost[node] = node
        parent = parents[node]
        first = leftmost[parent] < 0
        if first:
            leftmost[parent] = leftmost[node]
        else:
            keyroots.append(node)  # the root too: it is its own parent here
        if parent != node:
            heights[parent] = max(heights[parent], heights[node] + (not first))
    return Tree(labels, leftmost, heights, keyroots)


def is_text(label: str) -> bool:
    return LEAF in label


def text_of(label: str) -> str:
    return label.replace(LEAF, "")


def node_costs(labels: Sequence[str]) -> Integers:
    """What it costs to insert or remove each node: its length for a text, 1 for an inner node."""
    return np.array([len(text_of(label)) if is_text(label) else 1 for label in labels], dtype=np.int64)


def update_costs(a: Sequence[str], b: Sequence[str]) -> Integers:
    """What it costs to turn node i of `a` into node j of `b`: (len(a), len(b)).

    Text to text is the Levenshtein distance, text to inner node 1 + the text's length, inner node to inner
    node 0 or 1. Computed once for each pair of distinct labels: documents repeat theirs.
    """
    a_codes = {label: code for code, label in enumerate(dict.fromkeys(a))}
    b_codes = {label: code for code, label in enumerate(dict.fromkeys(b))}
    table = _label_costs(list(a_codes), list(b_codes))
    rows = [a_codes[label] for label in a]
    columns = [b_codes[label] for label in b]
    return table[np.ix_(rows, columns)]


def _label_costs(a: list[str], b: list[str]) -> Integers:
    a_text = np.array([is_text(label) for label in a])[:, None]
    b_text = np.array([is_text(label) for label in b])[None, :]
    edits = cdist(
        [text_of(label) for label in a],
        [text_of(label) for label in b],
        scorer=Levenshtein.distance,
        dtype=np.int64,
    )
    replaced = node_costs(a)[:, None] + node_costs(b)[None, :]  # the inner node's 1 + the text's length
    renamed = np.array([[left != right for right in b] for left in a], dtype=np.int64)
    return np.where(a_text & b_text, edits, np.where(a_text | b_text, replaced, renamed))
