"""Ground truths of a folder: what is taken, in which form, and what is refused by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.metrics import field_f1, ted_accuracy
from benchmark.models.encoded import encode_documents
from benchmark.models.processor import build_processor, to_json
from benchmark.scales import TINY
from benchmark.truth import to_text
from tests.folders.papers import bills, line, opened, truths, write_split, write_truths

VALUES: dict[str, tuple[Any, Any]] = {
    "nested": ({"menu": [{"nm": "tea", "sub": {"nm2": "milk"}}, {"nm": "pie"}]},) * 2,
    "a list": ({"line": ["a", "b"]},) * 2,
    "a number": ({"total": 9.5, "cnt": 0}, {"total": "9.5", "cnt": "0"}),
    "true and false": ({"paid": True, "void": False}, {"paid": "True", "void": "False"}),
    "None": ({"tip": None, "all": ["x", None]}, {"tip": "None", "all": ["x", "None"]}),
    "spaces and capitals in keys": ({"Unit Price": "1", "TOTAL": "2"},) * 2,
    "a line break": ({"address": "12 Main St\nSpringfield"},) * 2,
    "letters beyond ASCII": ({"firma": "Müller & Söhne <3"},) * 2,
    "a categorical token": ({"kind": "<invoice/>"},) * 2,
    "empty": ({"a": "", "b": [], "c": {}},) * 2,
    "nothing": ({},) * 2,
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_become_the_text_that_a_model_writes(kind: str, tmp_path: Path) -> None:
    written, read = VALUES[kind]
    dataset = bills(write_truths(tmp_path, {"train": [written]}))
    assert truths(dataset) == [read]


ROUND_TRIPS = ("nested", "a list", "a number", "true and false", "None", "spaces and capitals in keys", "empty")


@pytest.mark.parametrize("kind", [*ROUND_TRIPS, "one in a list"])
def test_a_perfect_reader_gets_1_of_them(kind: str, tmp_path: Path) -> None:
    """The way through tags loses what the metrics do not look at, and nothing else."""
    written = {"menu": [{"nm": ["tea"]}]} if kind == "one in a list" else VALUES[kind][0]
    dataset = bills(write_truths(tmp_path, {"train": [written]}))
    (truth,) = truths(dataset)
    answer = to_json(build_processor(TINY, [dataset]), to_text(truth))
    assert ted_accuracy(answer, truth) == 1.0
    assert field_f1([answer], [truth]) == 1.0


def test_text_and_object_are_the_same_and_other_keys_are_ignored(tmp_path: Path) -> None:
    truth = {"total": "1"}
    rows = [
        {
            "file_name": "a.png",
            "ground_truth": json.dumps({"gt_parse": truth, "meta": {"split": "x"}}),
        },
        {"file_name": "b.png", "ground_truth": {"gt_parse": truth, "roi": None}, "license": "?"},
    ]
    write_split(tmp_path / "train", "\n".join(map(json.dumps, rows)), ["a.png", "b.png"])
    dataset = bills(tmp_path)
    assert truths(dataset) == [truth, truth]
    assert (dataset.task, dataset.keys) == ("extraction", ("total",))


def test_keys_are_in_reverse_alphabetical_order_or_in_that_of_the_file(tmp_path: Path) -> None:
    write_truths(tmp_path, {"train": [{"b": {"y": "1", "z": "2"}, "a": [{"x": "3", "W": "4"}], "c": "5"}]})
    donut, file = bills(tmp_path), bills(tmp_path, key_order="file")
    written = "<s_c>5</s_c><s_b><s_z>2</s_z><s_y>1</s_y></s_b><s_a><s_x>3</s_x><s_W>4</s_W></s_a>"
    assert to_text(truths(donut)[0]) == written
    assert list(truths(file)[0]) == ["b", "a", "c"]
    assert truths(file) == truths(donut)
    assert donut.version != file.version
    assert (donut.notes, len(file.notes)) == ((), 1)


class TestTask:
    def test_text_alone_is_reading(self, tmp_path: Path) -> None:
        dataset = bills(write_truths(tmp_path, {"train": [{"text_sequence": "a b"}, {"text_sequence": "c"}]}))
        assert (dataset.task, dataset.keys) == ("reading", ("text_sequence",))

    def test_one_with_fields_is_enough_for_extraction(self, tmp_path: Path) -> None:
        dataset = bills(write_truths(tmp_path, {"train": [{"text_sequence": "a b"}, {"total": "1"}]}))
        assert (dataset.task, dataset.keys) == ("extraction", ("text_sequence", "total"))

    def test_the_training_documents_decide_and_other_keys_are_told(self, tmp_path: Path) -> None:
        found: dict[str, list[Any]] = {
            "train": [{"menu": [{"nm": "tea"}]}],
            "validation": [{"menu": {"nm": "tea"}}],
            "test": [{"total": "1"}, {"total": "2", "tip": {"cash": "3"}}],
        }
        dataset = bills(write_truths(tmp_path, found))
        assert dataset.keys == ("menu", "nm")
        (note,) = dataset.notes
        test = "test/metadata.jsonl"
        assert note == (
            f"2 documents have keys that training never has: 'total' ({test}, line 1), 'cash' ({test}, line 2), "
            f"'tip' ({test}, line 2)"
        )


class TestSeveral:
    def test_the_first_is_learnt_and_the_others_are_as_right(self, tmp_path: Path) -> None:
        several = {"gt_parses": [{"answer": "a"}, {"answer": 7}]}
        rows = [
            {"file_name": "0.png", "ground_truth": json.dumps(several)},
            {"file_name": "1.png", "ground_truth": {"gt_parse": {"answer": "b"}}},
        ]
        write_split(tmp_path / "train", "\n".join(map(json.dumps, rows)), ["0.png", "1.png"])
        dataset = bills(tmp_path)
        documents = opened(dataset)
        assert [document.ground_truth for document in documents] == [{"answer": "a"}, {"answer": "b"}]
        assert [document.alternatives for document in documents] == [({"answer": "7"},), ()]
        pages = encode_documents(documents, build_processor(TINY, [dataset]), TINY.max_tokens)
        assert pages.accepted == [({"answer": "a"}, {"answer": "7"}), ({"answer": "b"},)]
        assert pages.head(1).accepted == pages.accepted[:1]
        first = build_processor(TINY, [dataset]).tokenizer.decode(pages.labels[0])
        assert first.startswith("<s_answer>a</s_answer></s>")

    def test_keys_of_the_others_are_not_learnt(self, tmp_path: Path) -> None:
        several = {"file_name": "0.png", "ground_truth": {"gt_parses": [{"a": "1"}, {"b": "1"}]}}
        write_split(tmp_path / "train", json.dumps(several), ["0.png"])
        assert bills(tmp_path).keys == ("a",)


BAD: dict[str, tuple[str, str]] = {
    "no JSON": ('{"file_name": "0.png", "ground_truth": {}', "the line is not JSON: Expecting ',' delimiter"),
    "a list": ("[1]", "there is no file_name"),
    "no file name": ('{"ground_truth": "{}"}', "there is no file_name"),
    "no ground truth": ('{"file_name": "0.png"}', "there is no ground_truth"),
    "truth is no JSON": ('{"file_name": "0.png", "ground_truth": "{"}', "ground_truth is not JSON"),
    "truth is a number": ('{"file_name": "0.png", "ground_truth": 7}', "ground_truth is of type int"),
    "truth is a list": ('{"file_name": "0.png", "ground_truth": "[]"}', "ground_truth is of type list"),
    "no gt_parse": (
        json.dumps({"file_name": "0.png", "ground_truth": {"query": {}, "answers": []}}),
        "neither gt_parse nor gt_parses, but 'query', 'answers'",
    ),
    "nothing at all": ('{"file_name": "0.png", "ground_truth": {}}', "neither gt_parse nor gt_parses, but nothing"),
    "gt_parse is text": (line("0.png", "total"), "gt_parse is of type str, not an object"),
    "gt_parses is empty": ('{"file_name": "0.png", "ground_truth": {"gt_parses": []}}', "gt_parses is not a list of"),
    "gt_parses has text": (
        '{"file_name": "0.png", "ground_truth": {"gt_parses": [{"a": "1"}, "b"]}}',
        "gt_parses[1] is of type str",
    ),
    "a key twice": (
        '{"file_name": "0.png", "ground_truth": {"gt_parse": {"total": "1", "total": "2"}}}',
        "the key 'total' stands twice in one object",
    ),
    "NaN": ('{"file_name": "0.png", "ground_truth": {"gt_parse": {"total": NaN}}}', "total is nan, which is no number"),
    "half a character": (line("0.png", {"total": "\ud800"}), "half a surrogate pair"),
    "too deep": (line("0.png", json.loads('{"a":' + "[" * 60 + "]" * 60 + "}")), "more than 50 levels deep"),
    "without end": ('{"file_name": ' + "[" * 100_000, "the line is not JSON that can be read"),
    "an opening tag": (line("0.png", {"menu": [{"nm": "<S_x>"}]}), "gt_parse.menu[0].nm has '<S_' in its text"),
    "a closing tag": (line("0.png", {"a": ["1", "2</s_a>"]}), "gt_parse.a[1] has '</s_' in its text"),
    "a separator": (line("0.png", {"a": "1<sep/>2"}), "gt_parse.a has '<sep/>' in its text"),
    "a tag in a text to read": (line("0.png", {"text_sequence": "<s_a>"}), "gt_parse.text_sequence has '<s_' in its"),
    "brackets in a key": (line("0.png", {"a<b": "1"}), "a tag cannot carry the key 'a<b'"),
    "no key": (line("0.png", {"": "1"}), "a tag cannot carry the key ''"),
    "a key inside itself": (line("0.png", {"a": {"a": "1"}}), "the key 'a' stands inside itself"),
    "keys that differ in case": (
        line("0.png", {"Total": "1", "total": "2"}),
        "'Total' and 'total' differ in case alone",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_carried_is_refused_by_file_and_line(kind: str, tmp_path: Path) -> None:
    bad, told = BAD[kind]
    good = line("good.png", {"company": "Ltd"})
    write_split(tmp_path / "test", f"{good}\n{bad}\n", ["good.png", "0.png"])
    with pytest.raises(UserError) as caught:
        bills(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'test' / 'metadata.jsonl'}, line 2: ")
    assert told in message
    assert "\n" not in message


def test_keys_that_differ_in_case_are_refused_across_splits(tmp_path: Path) -> None:
    write_truths(tmp_path, {"train": [{"total": "1"}], "test": [{"total": "1"}, {"TOTAL": "1"}]})
    with pytest.raises(UserError, match=r"test/metadata\.jsonl, line 2: .*'total' and 'TOTAL' differ in case alone"):
        bills(tmp_path)


def test_a_key_with_the_name_of_the_data_set_is_refused(tmp_path: Path) -> None:
    """Its opening tag would be the prompt."""
    write_truths(tmp_path, {"train": [{"Bills": "1"}]})
    with pytest.raises(UserError, match="data set bills: one of its keys has its name"):
        bills(tmp_path)
