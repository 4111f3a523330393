"""How answers fail: each kind by itself, and what is none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.f1 import counts_by_path, field_counts
from benchmark.metrics.failures import failures, looped
from benchmark.truth import to_text
from benchmark.types import Json

TRUTH: Json = {"menu": [{"nm": "TEA", "price": "1.00"}, {"nm": "RICE", "price": "2.00"}], "total": "3.00"}
TEXT = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
DOCUMENT = st.dictionaries(st.sampled_from("abcd"), TEXT | st.lists(TEXT, min_size=2, max_size=3), min_size=1)


def failed(prediction: Json, text: str | None = None, ended: bool | None = True, truth: Json = TRUTH) -> list[str]:
    return list(failures(to_text(prediction) if text is None else text, ended, prediction, truth))


def without(*keys: str) -> Json:
    return {key: value for key, value in TRUTH.items() if key not in keys}


def test_what_is_right_does_not_fail() -> None:
    assert failed(TRUTH) == []
    assert failed(TRUTH, ended=None) == []


def test_the_fields_tell_what_is_missing_wrong_and_invented() -> None:
    assert failed(without("total")) == ["missing field"]
    assert failed({**without("total"), "total": "3.01"}) == ["wrong value"]
    assert failed({**TRUTH, "tax": "0"}) == ["invented key"]
    assert failed({**without("total"), "sum": "3.00"}) == ["missing field", "invented key"]
    assert failed({}, text="") == ["missing field"]


def test_one_item_more_or_less_is_a_field_more_or_less() -> None:
    assert failed({**TRUTH, "menu": TRUTH["menu"][:1]}) == ["missing field"]
    assert failed({**TRUTH, "menu": [*TRUTH["menu"], {"nm": "HAM", "price": "9.00"}]}) == ["invented key"]


def test_tags_that_do_not_nest_cannot_be_parsed() -> None:
    for text in ("<s_total>3.00", "3.00</s_total>", "<s_menu><s_nm>TEA</s_menu></s_nm>", "3.00 in all"):
        assert "unparseable" in failed({}, text)
    assert "unparseable" not in failed({}, "<s_menu><s_nm>TEA</s_nm></s_menu>")


def test_what_was_cut_may_leave_tags_open_but_not_cross_them() -> None:
    assert failed(without("total"), "<s_menu><s_nm>TEA", ended=False) == ["truncated", "missing field"]
    assert "unparseable" in failed({}, "<s_menu></s_nm>", ended=False)
    assert failed(TRUTH, ended=False) == ["truncated"]


def test_plain_text_is_an_answer_where_the_truth_is_plain() -> None:
    assert failed({"text_sequence": "A TEXT"}, truth={"text_sequence": "A TEXT"}) == []
    assert failed({"text_sequence": "A TEST"}, truth={"text_sequence": "A TEXT"}) == ["wrong value"]


def test_a_loop_is_longer_than_what_the_truth_repeats() -> None:
    loop = {"text_sequence": "TO " + "THE END " * 3}
    assert failed(loop, truth={"text_sequence": "TO THE END"}) == ["looping", "wrong value"]
    assert failed(loop, truth=loop) == []
    assert failed({"text_sequence": "0000000000"}, truth={"text_sequence": "00"}) == ["wrong value"]  # short


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("abc", 0),
        ("abab", 0),
        ("ababab", 6),
        ("xababababy", 8),
        ("aaa", 3),
        ("abcabcabcab", 11),
        ("aab" * 3, 9),
    ],
)
def test_a_stretch_is_as_long_as_what_is_repeated_three_times(text: str, length: int) -> None:
    assert looped(text) == length


@given(st.text("ab", max_size=14))
def test_stretches_are_those_that_a_search_finds(text: str) -> None:
    def repeats(start: int, end: int) -> bool:
        part = text[start:end]
        return any(part[p:] == part[:-p] for p in range(1, len(part) // 3 + 1))

    spans = [(start, end) for start in range(len(text)) for end in range(start + 3, len(text) + 1)]
    assert looped(text) == max((end - start for start, end in spans if repeats(start, end)), default=0)


@given(DOCUMENT, DOCUMENT)
def test_the_counts_of_paths_are_those_of_the_document(prediction: Json, truth: Json) -> None:
    whole, paths = field_counts(prediction, truth), counts_by_path(prediction, truth).values()
    sums = tuple(sum(getattr(path, name) for path in paths) for name in ("tp", "fn", "fp"))
    assert sums == (whole.tp, whole.fn, whole.fp)
    assert (failed(prediction, truth=truth) == []) == (whole.fn + whole.fp == 0)
