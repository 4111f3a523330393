"""Field F1 against a second implementation, and its edge cases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics import field_f1
from benchmark.metrics.f1 import FieldCounts, f1_from_counts, field_counts
from benchmark.metrics.normalize import normalize_dict

TRUTH: dict[str, Any] = {
    "menu": [{"nm": "cake", "cnt": "2"}, {"nm": "juice", "cnt": "1"}],
    "total": {"price": "9"},
}


def oracle_fields(value: Any, keys: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [field for key in value for field in oracle_fields(value[key], (*keys, key))]
    if isinstance(value, list):
        return [field for item in value for field in oracle_fields(item, keys)]
    return [(".".join(keys), value)]


def oracle_counts(prediction: Any, truth: Any) -> FieldCounts:
    """Strike out each predicted field in the list of true ones."""
    open_fields = oracle_fields(normalize_dict(truth).value)
    tp = fp = 0
    for field in oracle_fields(normalize_dict(prediction).value):
        if field in open_fields:
            open_fields.remove(field)
            tp += 1
        else:
            fp += 1
    return FieldCounts(tp, len(open_fields), fp)


documents = st.recursive(
    st.sampled_from([None, True, 0, 5, "", " ", "x", "<leaf>", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(documents, documents)
def test_counts_equal_striking_out_one_by_one(prediction: Any, truth: Any) -> None:
    assert field_counts(prediction, truth) == oracle_counts(prediction, truth)


def test_a_known_score_by_hand() -> None:
    prediction = {"menu": [{"nm": "juice", "cnt": "1"}, {"nm": "cave"}], "total": {"price": "9", "tax": "1"}}
    assert field_counts(prediction, TRUTH) == FieldCounts(tp=3, fn=2, fp=2)
    assert field_f1([prediction], [TRUTH]) == 3 / 5


def test_as_many_wrong_as_right_are_two_thirds() -> None:
    assert field_f1([{"a": "x"}], [{"a": "x", "b": "y"}]) == 2 / 3


def test_the_average_is_micro_and_recomputed_from_counts() -> None:
    predictions, truths = [TRUTH, {"a": "x"}], [TRUTH, {"a": "y"}]
    counts = [field_counts(*pair) for pair in zip(predictions, truths, strict=True)]
    assert counts == [FieldCounts(5, 0, 0), FieldCounts(0, 1, 1)]
    assert field_f1(predictions, truths) == f1_from_counts(counts) == 5 / 6


def test_repeated_fields_count_once_each() -> None:
    assert field_counts({"a": ["x", "x", "x"]}, {"a": ["x", "x"]}) == FieldCounts(2, 0, 1)
    assert field_counts({"a": ["x"]}, {"a": ["x", "x"]}) == FieldCounts(1, 1, 0)


def test_order_and_grouping_do_not_matter() -> None:
    assert field_f1([{**TRUTH, "menu": TRUTH["menu"][::-1]}], [TRUTH]) == 1
    assert field_f1([{"a": {"b": "x"}}], [{"a.b": "x"}]) == 1


def test_marked_text_is_another_text() -> None:
    assert field_f1([{"a": "x<leaf>y"}], [{"a": "xy"}]) == 0


def test_empty_documents() -> None:
    assert field_counts({}, {}) == FieldCounts(0, 0, 0)
    assert field_f1([{}], [{}]) == 1
    assert field_f1([{"a": "x"}], [{}]) == 0
    assert field_f1([{}], [{"a": "x"}]) == 0
    assert field_f1([{}, {"a": "x"}], [{}, {"a": "x"}]) == 1


def test_wrong_inputs_are_errors() -> None:
    with pytest.raises(ValueError, match="no documents"):
        field_f1([], [])
    with pytest.raises(ValueError, match="no documents"):
        f1_from_counts([])
    with pytest.raises(ValueError, match="2 predictions and 1 ground truths"):
        field_f1([{}, {}], [{}])
    with pytest.raises(TypeError, match="must be text"):
        field_f1([{"a": {1: "x"}}], [{}])


@pytest.mark.parametrize("wrong", [TRUTH, "text", b"text", {1, 2}, None, 5, iter([TRUTH])])
def test_two_documents_are_not_two_lists_of_them(wrong: Any) -> None:
    """The keys of two documents would be compared as if they were documents."""
    for arguments in ((wrong, wrong), (wrong, [TRUTH]), ([TRUTH], wrong)):
        with pytest.raises(TypeError, match=f"two lists of documents, got one {type(wrong).__name__}"):
            field_f1(*arguments)
    assert field_f1((TRUTH,), [TRUTH]) == 1


def test_deep_documents_do_not_end_in_a_recursion_error() -> None:
    data: Any = {"a": "end"}
    for _ in range(3000):
        data = {"a": data}
    assert field_counts(data, {"a": "end"}) == FieldCounts(0, 1, 1)
