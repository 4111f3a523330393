"""N-TED accuracy against a second implementation on top of zss, and its edge cases."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import zss

from benchmark.metrics import ted_accuracy
from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.ted import ted_document

# --- the definition once more, in recursion, with zss ---


def oracle_normalize(data: Any) -> Any:
    if not data:
        return {}
    if isinstance(data, dict):
        values = ((key, oracle_normalize(data[key])) for key in sorted(sorted(data), key=len))
        return {key: [value] if isinstance(value, dict) else value for key, value in values if value}
    if not isinstance(data, list):
        return [str(data).strip()]
    if {type(item) for item in data} == {dict}:
        return list(filter(None, map(oracle_normalize, data)))
    return [text for item in data if type(item) in (str, int, float) for text in [str(item).strip()] if text]


def oracle_tree(name: str, data: Any) -> zss.Node:
    node = zss.Node(name)
    for child in data.items() if isinstance(data, dict) else data:
        if isinstance(child, tuple):
            node.addkid(oracle_tree(*child))
        elif isinstance(child, dict):
            node.addkid(oracle_tree("<subtree>", child))
        else:
            node.addkid(zss.Node("<leaf>" + child))
    return node


@cache
def levenshtein(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return levenshtein(a[:-1], b[:-1])
    return 1 + min(levenshtein(a[:-1], b), levenshtein(a, b[:-1]), levenshtein(a[:-1], b[:-1]))


def parts(node: zss.Node) -> tuple[bool, str]:
    return "<leaf>" in node.label, "".join(node.label.split("<leaf>"))


def one_cost(node: zss.Node) -> int:
    leaf, text = parts(node)
    return len(text) if leaf else 1


def change_cost(a: zss.Node, b: zss.Node) -> int:
    (a_leaf, a_text), (b_leaf, b_text) = parts(a), parts(b)
    if a_leaf and b_leaf:
        return levenshtein(a_text, b_text)
    if not a_leaf and not b_leaf:
        return int(a_text != b_text)
    return 1 + len(a_text if a_leaf else b_text)


def oracle_distance(a: Any, b: Any) -> int:
    trees = [oracle_tree("<root>", oracle_normalize(data)) for data in (a, b)]
    return int(zss.distance(*trees, zss.Node.get_children, one_cost, one_cost, change_cost))


def oracle_accuracy(prediction: Any, ground_truth: Any) -> float:
    size = oracle_distance({}, ground_truth)
    return max(0.0, 1 - oracle_distance(prediction, ground_truth) / size) if size else 0.0


# --- random documents ---

TEXTS = ["", " ", "a", "ab ", "Tea", "Teas", "12.50", "1250", "é漢🙂", "<leaf>", "x<leaf>y", "\ud800", "a\0"]
SCALARS: list[Any] = [None, True, False, 0, 7, -1.5, 0.0, *TEXTS, *TEXTS]
KEYS = ["", "a", "b", "nm", "price", "sub.nm", "é", "<root>", "<subtree>", "k<leaf>"]


def random_json(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(SCALARS)
    if kind < 0.65:
        return {key: random_json(rng, depth - 1) for key in rng.sample(KEYS, rng.randrange(4))}
    if kind < 0.9:
        items = [rng.sample(KEYS, rng.randrange(3)) for _ in range(rng.randrange(1, 4))]
        return [{key: random_json(rng, depth - 1) for key in keys} for keys in items]
    return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]


def damaged(rng: random.Random, data: Any) -> Any:
    """The same document with a few values, keys and items changed: near pairs, as a good model gives them."""
    if rng.random() < 0.1:
        return random_json(rng, 1)
    if isinstance(data, dict):
        return {rng.choice(KEYS) if rng.random() < 0.1 else key: damaged(rng, data[key]) for key in data}
    if isinstance(data, list):
        items = [damaged(rng, item) for item in data if rng.random() < 0.9]
        return items[::-1] if rng.random() < 0.1 else items
    return data


@pytest.mark.parametrize("seed", range(6))
def test_no_mismatch_with_zss_on_random_documents(seed: int) -> None:
    rng = random.Random(seed)
    nonzero = 0
    for _ in range(100):
        depth = rng.randrange(2, 5)
        truth = random_json(rng, depth)
        prediction = damaged(rng, truth) if rng.random() < 0.5 else random_json(rng, depth)
        result = ted_document(prediction, truth, strict=True)
        assert normalize_dict(truth).value == oracle_normalize(truth)
        assert result.distance == oracle_distance(prediction, truth), (prediction, truth)
        assert result.size == oracle_distance({}, truth), truth
        assert result.accuracy == oracle_accuracy(prediction, truth), (prediction, truth)
        nonzero += result.distance > 0 and result.size > 5
    assert nonzero > 20


def receipt(rng: random.Random, items: int) -> dict[str, Any]:
    menu = [
        {
            "nm": rng.choice(["Tea", "Rice", "Ayam"]),
            "cnt": rng.randrange(9),
            "price": f"{rng.randrange(99)},00",
        }
        for _ in range(items)
    ]
    return {"menu": menu, "sub_total": {"tax": "1,0"}, "total": {"total_price": "9,00", "cashprice": "10,00"}}


def test_no_mismatch_with_zss_on_receipts() -> None:
    rng = random.Random(0)
    for _ in range(12):
        a, b = receipt(rng, rng.randrange(1, 6)), receipt(rng, rng.randrange(1, 6))
        assert ted_document(a, b).distance == oracle_distance(a, b)


def test_a_known_score_by_hand() -> None:
    truth = {"menu": [{"nm": "cake", "cnt": "2"}, {"nm": "juice", "cnt": "1"}]}
    # menu, 2 subtrees, 4 keys, 11 characters: 18.
    # One wrong character and one missing item (subtree, 2 keys, 6 characters): 10.
    result = ted_document({"menu": {"nm": "cave", "cnt": 2}}, truth)
    assert (result.distance, result.size) == (10, 18)
    assert result.accuracy == 1 - 10 / 18


def test_the_order_of_items_matters_the_order_of_keys_does_not() -> None:
    a, b = {"nm": "cake", "cnt": "2"}, {"nm": "juice", "cnt": "1"}
    assert ted_accuracy({"menu": [b, a]}, {"menu": [a, b]}) < 1
    assert ted_accuracy({"cnt": "2", "nm": "cake"}, a) == 1


# --- the edge cases: (prediction, ground truth, ours, Donut's) ---

EDGE_CASES: dict[str, tuple[Any, Any, float, float]] = {
    "both empty": ({}, {}, 1, 0),
    "both blank": (" ", " ", 1, 0),
    "no ground truth": ({"a": "b"}, {}, 0, 0),
    "list of lists": ([["a"]], [["a"]], 0, 0),
    "only None": ({"a": None}, {"a": None}, 0, 0),
    "only False": (False, False, 0, 0),
    "only 0": ({"a": 0}, {"a": 0}, 0, 0),
    "mixed list": ({"a": ["x", {"b": "c"}]}, {"a": ["x"]}, 1, 1),
    "True and None in a list": ({"a": ["x", True, None]}, {"a": ["x"]}, 1, 1),
    "0 as a value": ({"a": 0, "b": "x"}, {"b": "x"}, 1, 1),
    "0 in a list stays": ({"a": [0]}, {"a": "0"}, 1, 1),
    "<leaf> in a text": ({"a": "x<leaf>y"}, {"a": "xy"}, 1, 1),
    "blank text": ({"a": "  "}, {"a": "xy"}, 1 - 2 / 3, 1 - 2 / 3),
    "blank texts cost nothing": ({"a": [{"b": " "}], "b": "x"}, {"a": [{"b": "\n"}], "b": "x"}, 1, 1),
    "not a dict": ("text", ["text"], 1, 1),
    "much too long": ({"a": "x" * 99}, {"a": "y"}, 0, 0),
}


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_case(case: str) -> None:
    prediction, truth, ours, donut = EDGE_CASES[case]
    assert ted_accuracy(prediction, truth) == ours
    assert ted_accuracy(prediction, truth, strict=True) == donut == oracle_accuracy(prediction, truth)


def test_empty_documents_are_told_apart() -> None:
    assert ted_document({}, {}).empty
    assert not ted_document({"a": "b"}, {}).empty
    assert not ted_document({"a": "b"}, {"a": "b"}).empty
    lost = ted_document([["a"]], [["a"]])
    assert lost.unscorable
    assert not lost.empty
    assert not ted_document({}, {}).unscorable


@pytest.mark.parametrize(
    ("data", "dropped"),
    [
        ({}, 0),
        (None, 1),
        ({"a": None, "b": False, "c": 0, "d": "", "e": [], "f": {}}, 3),
        ({"a": ["x", {"b": "c"}, None, True, [1], "", {}, []]}, 4),
        ([["a"], ["b"]], 2),
        ({"a": None, "b": ["x", None], "c": [True, "y"]}, 3),
        ([{"a": 1}, {"a": 0}], 1),
    ],
)
def test_dropped_values_are_counted(data: Any, dropped: int) -> None:
    assert normalize_dict(data).dropped == dropped
    result = ted_document(data, {"a": None})
    assert (result.dropped_prediction, result.dropped_ground_truth) == (dropped, 1)


def test_the_input_is_not_changed() -> None:
    data = {"b": [{"a": None}, {"a": " x "}], "a": {"c": [1, None]}}
    assert normalize_dict(data).value == {"a": [{"c": ["1"]}], "b": [{"a": ["x"]}]}
    assert data == {"b": [{"a": None}, {"a": " x "}], "a": {"c": [1, None]}}


def test_keys_that_are_not_text_are_an_error() -> None:
    with pytest.raises(TypeError, match="must be text: 3 is int"):
        ted_accuracy({"a": [{3: "x"}]}, {"a": "x"})


# --- sizes ---


def nested(depth: int, step: Callable[[Any], Any]) -> Any:
    data: Any = {"a": "end"}
    for _ in range(depth):
        data = step(data)
    return data


@pytest.mark.parametrize("wrong", [({"a": "x"},), {"a": ("x", "y")}, {1, 2}, b"text", object()])
def test_what_is_no_json_is_an_error(wrong: Any) -> None:
    """Its repr would be compared."""
    for arguments in ((wrong, {"a": "x"}), ({"a": "x"}, wrong)):
        with pytest.raises(TypeError, match="a document is JSON, which has no"):
            ted_accuracy(*arguments)


def test_deep_documents_do_not_end_in_a_recursion_error() -> None:
    truth = {"a": "end"}  # root, a, text: each level around it costs a key and a subtree
    assert ted_document(nested(5000, lambda data: {"a": data}), truth).distance == 10000
    assert ted_document(nested(5000, lambda data: {"a": [data]}), truth).distance == 10000
    # Each level also a text of one character with its key, before the deeper level.
    assert ted_document(nested(300, lambda data: {"a": "x", "bb": data}), truth).distance == 300 * 4


def test_a_long_reading_is_exact() -> None:
    text = "the quick brown fox " * 200
    assert ted_document({"text_sequence": text[4:]}, {"text_sequence": text}).distance == 4
    assert ted_document({"text": text}, {"text_sequence": text}).distance == 1


def test_a_receipt_of_forty_items_with_one_removed() -> None:
    truth = receipt(random.Random(0), 40)
    result = ted_document(truth | {"menu": truth["menu"][1:]}, truth)
    first = {key: value for key, value in truth["menu"][0].items() if value}
    assert result.distance == 1 + len(first) + sum(len(str(value)) for value in first.values())
