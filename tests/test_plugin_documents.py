"""What a stranger's data set may give in place of documents, and the one line that each of it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark import Dataset, Document, Glyph, Scale, Split, UserError
from benchmark.plugin.documents import Opened, open_documents
from benchmark.scales import TINY

PAGE = np.full((8, 12), 255, np.uint8)
GOOD = Document("bill-0", PAGE, {"total": "1"})
WHERE = "data set bills, test"


def bills(given: Callable[[], Any] | Any) -> Dataset:
    """A data set that gives this, or what this returns, for every split."""

    def opens(scale: Scale, split: Split, seed: int, count: int | None) -> Any:
        return given() if callable(given) else given

    return Dataset("bills", "anything", "extraction", ("total",), opens)


def read(given: Any, split: Split = "test", count: int | None = None) -> list[Document]:
    return list(open_documents(bills(given), TINY, split, 0, count))


def failure(given: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(given)
    message = str(caught.value)
    assert "\n" not in message
    message.encode()
    return message


def raised(error: BaseException) -> Callable[[], Any]:
    def opens() -> Any:
        raise error

    return opens


def generated() -> Iterator[Document]:
    yield GOOD


class Broken(Sequence[Any]):
    """The second document, or how many there are, raises."""

    def __init__(self, error: BaseException, length: bool = False) -> None:
        self._error, self._length = error, length

    def __len__(self) -> int:
        if self._length:
            raise self._error
        return 2

    def __getitem__(self, index: Any) -> Any:
        if index == 1:
            raise self._error
        return GOOD


ALL: dict[str, tuple[Any, str]] = {
    "nothing": (None, f"{WHERE}: what open returns is of type NoneType, not a sequence of documents"),
    "a generator": (generated, f"{WHERE}: what open returns is of type generator, not a sequence of documents"),
    "a dict": ({0: GOOD}, f"{WHERE}: what open returns is of type dict, not a sequence of documents"),
    "no document": ([], f"{WHERE}: there are no documents"),
    "an error": (raised(KeyError("no\nkey")), f"{WHERE}: open raises KeyError: 'no\\nkey'"),
    "an exit": (raised(SystemExit(0)), f"{WHERE}: open raises SystemExit: 0"),
    "a user error": (raised(UserError("no luck")), f"{WHERE}: no luck"),
    "one that names it": (raised(UserError("data set bills: no luck")), "data set bills: no luck"),
    "half a pair": (raised(OSError("\udc80.png")), f"{WHERE}: open raises OSError: \\udc80.png"),
    "no length": (
        Broken(ValueError("no"), length=True),
        f"{WHERE}, the len of all documents raises ValueError: no",
    ),
    "a broken document": (Broken(ZeroDivisionError("at 0")), f"{WHERE}, documents[1] raises ZeroDivisionError: at 0"),
    "a document that leaves": (Broken(SystemExit("bye")), f"{WHERE}, documents[1] raises SystemExit: bye"),
    "a document too few": (Broken(IndexError("of 1")), f"{WHERE}, documents[1] raises IndexError: of 1"),
    "a pair": ([GOOD, (PAGE, {})], f"{WHERE}, documents[1] is of type tuple, not a Document"),
}
DOCUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "a list for a page": ({"page": [[0, 1]]}, "document bill-1: a page is an array .*, not of type list"),
    "a path for a page": ({"page": "bill.png"}, "document bill-1: a page is an array .*, not of type str"),
    "nothing for a page": ({"page": None}, "document bill-1: a page is an array .*, not of type NoneType"),
    "an empty page": ({"page": PAGE[:0]}, r"document bill-1: a page is an array .*, not uint8 \(0, 12\)"),
    "floats for a page": ({"page": PAGE / 255}, r"document bill-1: a page is an array .*, not float64 \(8, 12\)"),
    "a number for an id": ({"id": 7}, r"documents\[1\]: its id is 7, not text that is not empty"),
    "no id": ({"id": ""}, r"documents\[1\]: its id is '', not text that is not empty"),
    "an id of half a pair": ({"id": "\ud800"}, r"documents\[1\]: its id is '\\ud800', not text"),
    "a source that is none": ({"source": None}, r"documents\[1\]: its source is None, not text"),
    "half a pair": ({"ground_truth": {"total": "\ud800"}}, "document bill-1: total holds half a surrogate pair"),
    "no number": ({"ground_truth": {"total": math.nan}}, "document bill-1: total is nan, which is no number in JSON"),
    "an object": ({"ground_truth": {"total": object()}}, "document bill-1: total is of type object: only dicts"),
    "a source to name": ({"ground_truth": {1}, "source": "line 3"}, "line 3: the ground truth is of type set"),
    "text for alternatives": (
        {"alternatives": "ab"},
        r"documents\[1\]: its alternatives is 'ab', not a tuple of",
    ),
    "a bad alternative": ({"alternatives": ({"total": {2}},)}, "document bill-1: total is of type set"),
    "text for glyphs": ({"glyphs": "ab"}, r"documents\[1\]: its glyphs is 'ab', not a tuple of Glyphs"),
    "a glyph nowhere": ({"glyphs": (Glyph("1", None, 2.0),)}, r"documents\[1\]: its glyphs is \(Glyph"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", ALL)
def test_what_is_no_sequence_of_documents_is_one_line(kind: str) -> None:
    given, wanted = ALL[kind]
    assert failure(given) == wanted


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_what_is_no_document_is_named_with_its_number_or_id(kind: str) -> None:
    changes, wanted = DOCUMENTS[kind]
    assert re.match(f"{WHERE}, {wanted}", failure([GOOD, replace(GOOD, **{"id": "bill-1", **changes})]))


def test_ctrl_c_is_no_failure_of_a_data_set() -> None:
    with pytest.raises(KeyboardInterrupt):
        read(raised(KeyboardInterrupt()))


@pytest.mark.parametrize("kind", [tuple, list, lambda some: np.array([*some, None], object)[:-1]])
def test_any_sequence_will_do(kind: Callable[[list[Document]], Any]) -> None:
    second = replace(GOOD, id="bill-1", page=np.zeros((3, 2, 3), np.uint8))
    assert [document.id for document in read(kind([GOOD, second]))] == ["bill-0", "bill-1"]


def test_no_more_than_was_asked_for_and_fewer_are_fine() -> None:
    several = [replace(GOOD, id=f"bill-{number}") for number in range(5)]
    assert [document.id for document in read(several, count=2)] == ["bill-0", "bill-1"]
    assert len(read(several, count=9)) == 5
    taken = open_documents(bills(several), TINY, "train", 0, None).take([4, 0, 4])
    assert [document.id for document in taken] == ["bill-4", "bill-0", "bill-4"]
    assert [document.id for document in taken[1:]] == ["bill-0", "bill-4"]


def test_what_is_read_is_plain() -> None:
    image: Any = Image.fromarray(PAGE)
    (document,) = read([replace(GOOD, page=image, ground_truth={"total": (np.int64(3),)}, alternatives=[{}])])  # type: ignore[arg-type]
    assert document.page.shape == (8, 12, 3)
    assert document.page.dtype == np.uint8
    assert document.ground_truth == {"total": [3]}
    assert document.alternatives == ({},)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    found = open_documents(bills(Broken(ValueError("late"))), TINY, "train", 0, None)
    assert isinstance(found, Opened)
    assert found[0].id == "bill-0"
    with pytest.raises(UserError, match="late"):
        found[1]
    with pytest.raises(IndexError):
        found[2]


def test_what_a_data_set_prints_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    class Loud(Broken):
        def __getitem__(self, index: Any) -> Any:
            print("document", index)
            return GOOD

    def opens() -> Any:
        print("opened")
        return Loud(ValueError())

    assert len(read(opens)) == 2
    assert capsys.readouterr() == ("", "opened\ndocument 0\ndocument 1\n")


@pytest.mark.parametrize("split", ["test", "shifted", "train"])
def test_two_scored_documents_of_one_id_are_told(split: Split, processor: Any) -> None:
    """Predictions are told apart by it; training may show a document twice."""
    from benchmark.models.encoded import encode_documents

    twice = open_documents(bills([GOOD, GOOD]), TINY, split, 0, None)
    if split == "train":
        assert len(encode_documents(twice, processor, 20)) == 2
    else:
        with pytest.raises(UserError, match=f"^data set bills, {split}, document bill-0: another document has the id"):
            encode_documents(twice, processor, 20)


def test_a_process_that_renders_tells_what_a_document_raises(processor: Any) -> None:
    """It would wait for ever for one that left."""
    from benchmark.models.encoded import encode_documents

    found = open_documents(bills(Broken(SystemExit("bye"))), TINY, "train", 0, None)
    with pytest.raises(UserError, match=r"documents\[1\] raises SystemExit: bye$"):
        encode_documents(found, processor, 20, jobs=2)
