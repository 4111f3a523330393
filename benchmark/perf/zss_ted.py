"""The tree edit distance as Donut's evaluator computes it: in zss, with nltk's distance of texts."""

from __future__ import annotations

from nltk.metrics.distance import edit_distance
from zss import Node, distance

from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.trees import is_text, text_of
from benchmark.types import Json


def zss_ted(prediction: Json, ground_truth: Json) -> int:
    """What `ted_document(...).distance` is. nltk from 3.10.3 on raises `ValueError` for texts above 2000 characters."""
    trees = [_tree("<root>", normalize_dict(data).value) for data in (prediction, ground_truth)]
    return int(distance(*trees, Node.get_children, _cost, _cost, _update))


def _tree(label: str, content: Json) -> Node:
    node = Node(label)
    if isinstance(content, dict):
        children = [_tree(key, below) for key, below in content.items()]
    else:
        children = [_tree("<subtree>", item) if isinstance(item, dict) else Node(f"<leaf>{item}") for item in content]
    for child in children:
        node.addkid(child)
    return node


def _cost(node: Node) -> int:
    return len(text_of(node.label)) if is_text(node.label) else 1


def _update(a: Node, b: Node) -> int:
    if is_text(a.label) and is_text(b.label):
        return int(edit_distance(text_of(a.label), text_of(b.label)))
    if is_text(a.label) or is_text(b.label):
        return _cost(a) + _cost(b)
    return int(a.label != b.label)
