"""What a ground truth may hold: plain JSON with keys that tags carry, or a line that says where it does not."""

from __future__ import annotations

import json
import random
from collections import OrderedDict, namedtuple
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.folders.write import write_folder
from benchmark.metrics import ted_accuracy
from benchmark.models.processor import to_json
from benchmark.scales import TINY, Scale
from benchmark.truth import Losses, ceiling_sentence, check_keys, plain, to_text
from benchmark.types import Dataset, Document, Split

WHERE = "data set bills, test, document 7"


class Currency(str, Enum):
    EURO = "EUR"


class Count(int, Enum):
    TWO = 2


Item = namedtuple("Item", ["name", "price"])

HOLDS: dict[str, tuple[Any, Any]] = {
    "integer": (np.int16(12), 12),
    "unsigned": (np.uint8(200), 200),
    "float": (np.float64(12.3), 12.3),
    "float of few bits": (np.float32(12.3), 12.3),
    "boolean": (np.bool_(True), True),
    "text": (np.str_("EUR"), "EUR"),
    "text of an enum": (Currency.EURO, "EUR"),
    "number of an enum": (Count.TWO, 2),
    "tuple": (("a", ("b", 1)), ["a", ["b", 1]]),
    "named tuple": (Item("tea", 2.5), ["tea", 2.5]),
    "array of text": (np.array(["tea", "milk"]), ["tea", "milk"]),
    "array of numbers": (np.array([1.1, 2.0], np.float32), [1.1, 2.0]),
    "array of anything": (np.array([{"nm": np.str_("tea")}, None], object), [{"nm": "tea"}, None]),
    "array without axes": (np.array(7), 7),
    "empty array": (np.array([]), []),
    "ordered dict": (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
}


def cycle() -> list[Any]:
    items: list[Any] = []
    items.extend([items, items])
    return items


NO_JSON: dict[str, tuple[Any, str]] = {
    "generator": ((letter for letter in "ab"), "is of type generator"),
    "set": ({"a", "b"}, "is of type set"),
    "bytes": (b"12.50", "is of type bytes"),
    "numpy bytes": (np.bytes_(b"12.50"), "is of type bytes_"),
    "decimal": (Decimal("12.50"), "is of type Decimal"),
    "object": (object(), "is of type object"),
    "span of time": (np.timedelta64(3, "s"), "is of type timedelta64"),
    "masked array": (np.ma.MaskedArray([1, 2], mask=[True, False]), "is of type MaskedArray"),
    "half a surrogate pair": ("12\ud800", "half a surrogate pair"),
    "no number": (float("nan"), "is nan"),
    "infinity of numpy": (np.float32("-inf"), "is -inf"),
    "key of another kind": ({1: "a"}, "has the key 1, of type int"),
    "key of half a surrogate pair": ({"\udfff": "a"}, "half a surrogate pair"),
}


class TestPlain:
    @pytest.mark.parametrize("kind", HOLDS)
    def test_numpy_and_tuples_are_what_they_hold(self, kind: str) -> None:
        value, held = HOLDS[kind]
        truth = plain({"menu": [value]}, WHERE)
        assert truth == {"menu": [held]}
        assert type(truth["menu"][0]) is type(held)
        assert json.loads(json.dumps(truth)) == truth

    def test_json_stays_as_it_is(self) -> None:
        truth = {"menu": [{"nm": "tea", "cnt": 2, "price": 2.5, "vegan": True, "sub": None}], "total": ""}
        assert plain(truth, WHERE) == truth
        assert list(plain(truth, WHERE)) == ["menu", "total"]

    @pytest.mark.parametrize("kind", NO_JSON)
    def test_what_json_has_no_word_for_is_refused_by_document_and_place(self, kind: str) -> None:
        value, why = NO_JSON[kind]
        with pytest.raises(UserError) as caught:
            plain({"menu": ["tea", {"unit price": value}]}, WHERE)
        message = str(caught.value)
        assert message.startswith(f"{WHERE}: menu[1]['unit price']")
        assert why in message
        assert "\n" not in message
        message.encode()

    def test_what_contains_itself_is_refused(self) -> None:
        with pytest.raises(UserError, match="nested more than 50 levels deep"):
            plain(cycle(), WHERE)


def reads_back(processor: DonutProcessor, truth: Any) -> bool:
    return ted_accuracy(to_json(processor, to_text(truth)), truth) == 1.0


REFUSED: dict[str, Any] = {
    "a bracket that closes": {"a>b": "12.50"},
    "a tag": {"</s_total>": "12.50"},
    "a tag that opens in it": {"b": {"a</s_b": "12.50", "c": "1"}},
    "a key inside itself": {"total": {"total": "12.50"}},
    "a key far inside itself": {"total": {"sums": [{"net": "1"}, {"total": "12.50"}]}},
    "a key inside itself but for its case": {"total": {"sums": {"Total": "12.50"}}},
}


class TestCheckKeys:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_keys_that_a_perfect_reader_loses_are_refused(self, kind: str, processor: DonutProcessor) -> None:
        assert not reads_back(processor, REFUSED[kind])
        with pytest.raises(UserError) as caught:
            check_keys(REFUSED[kind], WHERE)
        assert str(caught.value).startswith(f"{WHERE}: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("key", ["total", "Unit Price", " net ", "a.b*(c)", "a/b", "s_", "no\nbreak", "ключ", "_"])
    def test_keys_that_survive_are_kept(self, key: str, processor: DonutProcessor) -> None:
        for truth in ({key: "1"}, {key: {"x": "1"}, "y": {key: ["1", "2"]}}, {"y": [{key: "1"}, {key: "2"}]}):
            check_keys(truth, WHERE)
            assert reads_back(processor, truth)

    def test_what_is_kept_is_read_back(self, processor: DonutProcessor) -> None:
        """Random documents of awkward keys: whatever passes, a perfect reader gets right."""
        draw = random.Random(0)

        def document(depth: int) -> dict[str, Any]:
            keys = ("".join(draw.choices("aAbcd/.>_s ", k=draw.randint(0, 3))) for _ in range(draw.randint(1, 3)))
            return {key: document(depth - 1) if depth and draw.random() < 0.5 else "1" for key in keys}

        passed = 0
        for truth in (document(3) for _ in range(3000)):
            try:
                check_keys(truth, WHERE)
            except UserError:
                continue
            passed += 1
            assert reads_back(processor, truth), truth
        assert 500 < passed < 2500

    def test_keys_that_differ_in_case_alone_are_refused(self) -> None:
        with pytest.raises(UserError, match="'Total' and 'total' differ in case alone"):
            check_keys({"Total": "1", "total": "2"}, WHERE)

    def test_they_are_refused_in_two_documents_too(self) -> None:
        spellings: dict[str, str] = {}
        check_keys({"menu": [{"Total": "1"}]}, "metadata.jsonl, line 1", spellings)
        check_keys({"Total": "1"}, "metadata.jsonl, line 2", spellings)
        with pytest.raises(UserError, match=r"^metadata\.jsonl, line 3: the keys 'Total' and 'TOTAL'"):
            check_keys({"TOTAL": "1"}, "metadata.jsonl, line 3", spellings)

    def test_an_empty_key_is_refused(self) -> None:
        with pytest.raises(UserError, match="cannot carry the key ''"):
            check_keys({"menu": {"": "1"}}, WHERE)

    @pytest.mark.parametrize("keys", [("total", "a>b"), ("Total", "total"), ("",), (7,), ("\ud800",)])
    def test_a_data_set_cannot_declare_them(self, keys: tuple[Any, ...]) -> None:
        with pytest.raises(UserError, match=r"^data set bills: "):
            Dataset("bills", "bills", "extraction", keys, lambda scale, split, seed, count: [])


class TestSentence:
    @pytest.mark.parametrize("ted", [1.0, None])
    def test_nothing_is_said_where_nothing_is_lost(self, ted: float | None) -> None:
        assert ceiling_sentence(ted, Losses(100, 0, 0)) is None
        assert str(Losses(100, 0, 0)) == ""

    def test_it_says_why(self) -> None:
        assert ceiling_sentence(0.8123, Losses(100, 3, 57, 192)) == (
            "a perfect reader scores 0.812 here: 3 of 100 documents are longer than 192 tokens, "
            "57 characters are unknown to the model"
        )
        assert str(Losses(9, 1, 0)) == "1 of 9 documents is longer than the model writes"
        assert str(Losses(9, 0, 1, 192)) == "1 character is unknown to the model"

    def test_what_neither_explains_is_lost_to_the_tags(self) -> None:
        assert ceiling_sentence(0.5, Losses(9, 0, 0, 192)) == (
            "a perfect reader scores 0.500 here: the tags do not carry every value"
        )

    def test_it_never_says_1(self) -> None:
        assert "scores 0.999 here" in (ceiling_sentence(0.99999, Losses(9, 0, 1)) or "")


def parcels_that_say(truth: Any, parcels: Dataset) -> Dataset:
    def documents(scale: Scale, split: Split, seed: int, count: int | None) -> list[Document]:
        return [replace(document, ground_truth=truth) for document in parcels.open(scale, split, seed, count)]

    return replace(parcels, open=documents)


def test_a_folder_is_written_with_what_numpy_holds(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    parcels = parcels_that_say({"pieces": np.int64(3), "sizes": (1, 2)}, datasets["parcels-mini"])
    write_folder(parcels, TINY, tmp_path / "folder", documents=2, seed=0)
    lines = (tmp_path / "folder" / "train" / "metadata.jsonl").read_text().splitlines()
    truths = [json.loads(json.loads(line)["ground_truth"]) for line in lines]
    assert truths == [{"gt_parse": {"pieces": 3, "sizes": [1, 2]}}] * 2


def test_a_folder_with_a_set_is_refused_by_document(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    parcels = parcels_that_say({"names": {"a"}}, datasets["parcels-mini"])
    with pytest.raises(UserError, match="document train-0-000000: names is of type set"):
        write_folder(parcels, TINY, tmp_path / "folder", documents=2, seed=0)
    assert not (tmp_path / "folder").exists()
