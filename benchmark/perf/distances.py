"""The tree edit distance, of receipts and of read texts."""

from __future__ import annotations

import string
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice

import numpy as np

from benchmark.metrics import zhang_shasha
from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.programmes import Programme, compiled
from benchmark.metrics.ted import tree_distance
from benchmark.metrics.trees import build_tree
from benchmark.perf.comparison import Comparison, Missing, Way, compare_times
from benchmark.plugin.documents import open_documents
from benchmark.scales import TINY
from benchmark.types import Dataset, Json

ITEMS, CHARACTERS = 10, 1000
_PAIRS = 2
_WRONG = 0.05
_ALTERNATIVE = "zss with nltk's edit_distance, as Donut's evaluator"
_HOW = f"the predictions are the truths with {_WRONG:.0%} of their characters drawn anew"

Pair = tuple[Json, Json]
"""Prediction and ground truth."""


def compare(receipts: Dataset, texts: Dataset, repeats: int) -> Iterator[Comparison | Missing]:
    if find_spec("zss") is None or find_spec("nltk") is None:
        yield Missing("tree edit distances are", "perf")
        return
    fast = compiled()
    if fast is None:
        yield Missing("the compiled tree edit distance is", "numba")
    yield from _compare(
        "TED",
        f"{_PAIRS} receipts of {ITEMS} items, joined from {receipts.name}; {_HOW}",
        long_receipts(receipts, _PAIRS),
        {"numpy": zhang_shasha.edit_distance} | ({"numba": fast} if fast else {}),
        repeats,
    )
    yield from _compare(
        "reading TED",
        f"a text_sequence of {CHARACTERS} characters, joined from {texts.name}; {_HOW}",
        [long_text(texts)],
        {"rapidfuzz": zhang_shasha.edit_distance},
        repeats,
    )


def _compare(
    name: str, documents: str, truths: list[Json], programmes: dict[str, Programme], repeats: int
) -> list[Comparison]:
    from benchmark.perf.zss_ted import zss_ted

    random = np.random.default_rng(0)
    pairs = [(damaged(random, truth), truth) for truth in truths]
    ours = {way: _distances(pairs, programme) for way, programme in programmes.items()}
    return compare_times(name, documents, ours, (_ALTERNATIVE, lambda: [zss_ted(*pair) for pair in pairs]), repeats)


def _distances(pairs: list[Pair], programme: Programme) -> Way:
    """Everything that a score takes: normalised documents, trees, distance."""

    def way() -> list[int]:
        trees = [[build_tree(normalize_dict(data).value) for data in pair] for pair in pairs]
        return [tree_distance(a, b, programme) for a, b in trees]

    return way


def long_receipts(receipts: Dataset, count: int) -> list[Json]:
    """Receipts with `ITEMS` items each: those of as many receipts as it takes. A page of tiny has room for four."""
    items = _items(receipts)
    heads = [document.ground_truth for document in open_documents(receipts, TINY, "validation", 0, count)]
    return [{**head, "menu": list(islice(items, ITEMS))} for head in heads]


def _items(receipts: Dataset) -> Iterator[Json]:
    for document in open_documents(receipts, TINY, "train", 0, None):
        menu = document.ground_truth["menu"]
        yield from menu if isinstance(menu, list) else [menu]


def long_text(texts: Dataset) -> Json:
    """A text of `CHARACTERS` characters: those of as many documents as it takes."""
    text = ""
    for document in open_documents(texts, TINY, "train", 0, None):
        text += document.ground_truth["text_sequence"] + " "
        if len(text) > CHARACTERS:
            break
    return {"text_sequence": text[: CHARACTERS - 1] + "."}  # no blank at the end, which normalisation drops


def damaged(random: np.random.Generator, data: Json) -> Json:
    """The same document, a few of its characters drawn anew."""
    if isinstance(data, dict):
        return {key: damaged(random, value) for key, value in data.items()}
    if isinstance(data, list):
        return [damaged(random, item) for item in data]
    letters = string.ascii_letters + string.digits
    return "".join(letters[random.integers(len(letters))] if random.random() < _WRONG else c for c in data)
