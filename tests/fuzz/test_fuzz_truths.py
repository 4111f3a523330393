"""Ground truths of any kind: taken as what tags carry, or refused in one line."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.folders.truths import keys_of, parse_json, truths_of
from benchmark.metrics.normalize import normalize_dict
from benchmark.models.processor import to_json
from benchmark.truth import check_keys, plain, to_text
from benchmark.types import Json
from tests.fuzz.cases import ANY_TEXT, ANYTHING, JSON_VALUES, accepted, cases, nested

ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@cases
@given(ANYTHING)
@example(10**5000)
@example({10**5000: 1})
@example(ITSELF)
@example(nested({}, 300, lambda value: {"a": value}))
@example(nested([], 51, lambda value: [value]))
def test_any_value_is_plain_json_that_can_be_written_or_one_line(value: Any) -> None:
    truth = accepted(lambda: plain(value, "here"))
    if truth is not None:
        assert json.loads(json.dumps(truth, allow_nan=False)) == truth
        assert plain(truth, "here") == truth
        to_text(truth).encode()
        accepted(lambda: check_keys(truth, "here"))


FIELDS = (
    st.text(max_size=30)
    | st.text('{}[]":,1eE+- \n\\untrfalse', max_size=30)
    | JSON_VALUES.map(lambda truth: json.dumps({"gt_parse": truth}, default=str) if _is_short(truth) else "{}")
    | JSON_VALUES
    | st.builds(lambda truths: {"gt_parses": truths}, JSON_VALUES)
    | st.builds(lambda truth: {"gt_parse": {"a": truth}}, JSON_VALUES)
)


def _is_short(value: Any) -> bool:
    """Whether Python writes its numbers as JSON."""
    try:
        json.dumps(value)
    except ValueError:
        return False
    return True


@cases
@given(FIELDS, st.sampled_from(["donut", "file"]))
@example("[" * 100_000, "donut")
@example('{"gt_parse": {"a": ' + "9" * 5000 + "}}", "donut")
@example({"gt_parse": {"a": 10**5000}}, "donut")
@example('{"a": 1, "a": 2}', "file")
@example({"gt_parse": {"i": {"\u0131": "x"}}}, "file")
@example({"gt_parse": {"\u0130": {"i": "x"}}}, "file")
def test_any_field_is_ground_truths_of_text_or_one_line(processor: DonutProcessor, field: Any, order: Any) -> None:
    truths = accepted(lambda: truths_of(field, "here", order, {}))
    for truth in truths or ():
        assert keys_of(truth) == keys_of(json.loads(json.dumps(truth)))
        assert all(isinstance(key, str) for key in keys_of(truth))
        to_json(processor, to_text(truth))


@cases
@given(ANY_TEXT | st.text('{}[]":,1eE+-.', max_size=40))
def test_any_text_is_json_or_one_line(text: str) -> None:
    accepted(lambda: parse_json(text, "the line"))


# Few letters, so that keys meet inside each other; among them those that differ in case alone, in some alphabet.
CARRIED_KEYS = st.text("abiI\u0131\u0130s\u017fk\u212a .*\\(-_\u00df\u03bc\u00b5", min_size=1, max_size=2)
CARRIED_TEXT = st.text(string.printable + "\u00e9\u2028<>/", min_size=1, max_size=8).filter(str.strip)
LEAVES = CARRIED_TEXT | st.lists(CARRIED_TEXT, min_size=2, max_size=3)
CARRIED = st.dictionaries(
    CARRIED_KEYS,
    st.recursive(
        LEAVES,
        lambda inner: (
            st.dictionaries(CARRIED_KEYS, inner, min_size=1, max_size=2)
            | st.lists(st.dictionaries(CARRIED_KEYS, inner, min_size=1, max_size=2), min_size=2, max_size=2)
        ),
        max_leaves=5,
    ),
    max_size=3,
)


@cases
@given(CARRIED, st.sampled_from(["donut", "file"]))
@example({"i": {"\u0131": "x"}}, "donut")
@example({"\u0130": {"i": "x"}}, "donut")
def test_what_is_taken_comes_back_through_tags(processor: DonutProcessor, truth: Json, order: Any) -> None:
    """Texts, lists of texts, objects and lists of objects, in each other: all that Donut's ground truths have."""
    try:
        ((carried),) = truths_of({"gt_parse": truth}, "here", order, {})
    except UserError:
        return
    back = to_json(processor, to_text(carried))
    assert normalize_dict(back).value == normalize_dict(carried).value
