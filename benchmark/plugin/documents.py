"""The documents of a data set: opened here for every command, and each checked where it is read.

What a plugin gives may be anything, and whatever it raises or prints is told with the data set, the split and the
document. Nothing is read for the check alone: thousands of pages may be decoded only when they are asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, overload

from benchmark.errors import UserError, error_line
from benchmark.page import to_page
from benchmark.plugin.fields import problem_of
from benchmark.scales import Scale
from benchmark.truth import plain
from benchmark.types import Dataset, Document, Split

_SCORED: tuple[Split, ...] = ("test", "shifted")


@dataclass(frozen=True, slots=True)
class Opened(Sequence[Document]):
    """Some of the documents that a plugin gave, by their numbers; each is read and checked when it is asked for.

    Pages are arrays of bytes then, and ground truths plain JSON. If `distinct`, no two may have one id: predictions
    are told apart by it. Raises `UserError`, with `where` and the document, for one that is not what it has to be or
    cannot be read.
    """

    documents: Sequence[Document]
    numbers: Sequence[int]
    where: str = ""
    distinct: bool = False

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> Opened: ...
    def __getitem__(self, index: int | slice) -> Document | Opened:
        if isinstance(index, slice):
            return replace(self, numbers=self.numbers[index])
        number = self.numbers[index]
        place = _joined(self.where, f"documents[{number}]")
        with _asked(place, self.where):
            found: object = self.documents[number]
        if not isinstance(found, Document):
            raise UserError(f"{place} is of type {type(found).__name__}, not a Document")
        problem = problem_of(found)
        if problem is not None:
            raise UserError(f"{place}: {problem}")
        return _plain(found, self.place(found))

    def take(self, indices: Iterable[int]) -> Opened:
        """These of the documents, some maybe several times."""
        return replace(self, numbers=tuple(self.numbers[index] for index in indices))

    def place(self, document: Document) -> str:
        """The document in messages: where its ground truth stands, or else its id."""
        return _joined(self.where, document.source or f"document {document.id}")


def open_documents(dataset: Dataset, scale: Scale, split: Split, seed: int, count: int | None) -> Opened:
    """The documents of one split: `count`, or as many as there are if these are fewer, or without a count all.

    Raises `UserError`, with data set and split, for whatever `open` raises, what is no sequence, and an empty one.
    """
    where = f"data set {dataset.name}, {split}"
    with _asked(f"{where}: open", where):
        found = dataset.open(scale, split, seed, count)
    # A plugin may give more than it was asked for.
    return replace(opened(found, where)[:count], distinct=split in _SCORED)


def opened(documents: Sequence[Document], where: str = "") -> Opened:
    """The documents as they are checked when they are read. Raises `UserError` if they are no sequence, or empty."""
    if isinstance(documents, Opened):
        return documents
    given: Any = documents
    if isinstance(given, Mapping) or not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        what = f"{where or 'this split'}: what open returns"
        raise UserError(f"{what} is of type {type(given).__name__}, not a sequence of documents")
    with _asked(_joined(where, "the len of all documents"), where):
        count = len(given)
    if not count:
        raise UserError(f"{where or 'this split'}: there are no documents")
    return Opened(given, range(count), where)


def _plain(document: Document, place: str) -> Document:
    return replace(
        document,
        page=to_page(document.page, place),
        ground_truth=plain(document.ground_truth, place),
        alternatives=tuple(plain(truth, place) for truth in document.alternatives),
    )


@contextmanager
def _asked(what: str, where: str) -> Iterator[None]:
    """What a plugin prints meanwhile is no output; whatever it raises says `what` it was asked for."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except UserError as error:  # it says what and where, of all but the data set
        named = where.partition(",")[0]
        raise UserError(str(error) if named in str(error) else f"{where}: {error}") from error
    except BaseException as error:  # a plugin may raise anything, even SystemExit
        raise UserError(f"{what} raises {error_line(error)}") from error


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
