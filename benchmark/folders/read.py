"""A folder of documents as a data set: its index in memory, its pages read when they are asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import overload

from benchmark.errors import UserError
from benchmark.folders.divide import Rows, check_splits, read_splits
from benchmark.folders.draw import drawn
from benchmark.folders.folder import FROM_FOLDER, Folder
from benchmark.folders.metadata import Row
from benchmark.folders.truths import is_reading, keys_of
from benchmark.page import read_page
from benchmark.plugin.manager import Registered, Registry
from benchmark.scales import Scale
from benchmark.types import SPLITS, Dataset, Document, Split


def with_folders(registry: Registry, folders: Sequence[Folder], needed: Sequence[Split] = SPLITS) -> Registry:
    """The registry with the data sets of these folders.

    Raises `UserError` for a name that another data set has, for what cannot be read, and for a `needed` split without
    documents.
    """
    datasets = dict(registry.datasets)
    for folder in folders:
        replaced = datasets[folder.name].item if folder.name in datasets else None
        if replaced is not None and not replaced.on_request:
            other = datasets[folder.name].source
            raise UserError(f"--data {folder.name}={folder.path}: a data set of that name comes from {other}")
        dataset = read_folder(folder, needed)
        if replaced is not None:
            dataset = replace(dataset, stands_for=replaced.stands_for)
        datasets[folder.name] = Registered(dataset, f"{FROM_FOLDER}{folder.path.resolve().name}")
    return replace(registry, datasets=dict(sorted(datasets.items())))


def read_folder(folder: Folder, needed: Sequence[Split] = SPLITS) -> Dataset:
    """The data set of a folder. Its keys and its task are those of the training documents, if there are any.

    Raises `UserError` as `with_folders`.
    """
    rows = read_splits(folder)
    check_splits(folder, rows, needed)
    learnt = [row.truths[0] for row in rows["train"] or sum(rows.values(), ())]
    keys = set().union(*map(keys_of, learnt))
    if folder.name in {key.casefold() for key in keys}:
        raise UserError(f"data set {folder.name}: one of its keys has its name, and both would be the same token")

    def open_split(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
        check_splits(folder, rows, [split])
        return FolderDocuments(folder.path, drawn(rows[split], seed, count))

    return Dataset(
        name=folder.name,
        summary=f"the folder {folder.path}",
        task="reading" if all(map(is_reading, learnt)) else "extraction",
        keys=tuple(sorted(keys)),
        open=open_split,
        version=_digest(folder, rows),
        hashed=True,
        notes=tuple(_notes(folder, rows, keys)),
        options=tuple(_options(folder)),
    )


@dataclass(frozen=True, slots=True)
class FolderDocuments(Sequence[Document]):
    """Documents whose pages are read from the folder when they are asked for."""

    folder: Path
    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> FolderDocuments: ...
    def __getitem__(self, index: int | slice) -> Document | FolderDocuments:
        if isinstance(index, slice):
            return FolderDocuments(self.folder, self.rows[index])
        row = self.rows[index]
        source = _within(self.folder, row.source)
        try:
            page = read_page(row.image)
        except UserError as error:
            raise UserError(_within(self.folder, f"{source}: {error}")) from error
        first, *others = row.truths
        name = row.image.relative_to(self.folder).as_posix()
        return Document(name, page, first, source=source, alternatives=tuple(others))


def _within(folder: Path, text: str) -> str:
    """Without the path of the folder, which has no place in a record."""
    return text.replace(f"{folder}{os.sep}", "")


def _digest(folder: Folder, rows: Rows) -> str:
    """A hash of all that the documents are: names, ground truths and images, split by split."""
    digest = hashlib.sha256(json.dumps([folder.key_order, folder.shares]).encode())
    for split, found in rows.items():
        for row in found:
            facts = row.image.stat()
            image = _content(row.image.resolve(), facts.st_size, facts.st_mtime_ns)
            name = row.image.relative_to(folder.path).as_posix()
            digest.update(f"{json.dumps([split, name, row.truths, facts.st_size, image])}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _content(image: Path, size: int, changed: int) -> str:
    """A hash of a file. Kept while it does not change: the command line asks for it, and then the run."""
    return hashlib.sha256(image.read_bytes()).hexdigest()


def _options(folder: Folder) -> Iterator[tuple[str, str]]:
    if folder.key_order != "donut":
        yield "key-order", folder.key_order
    if folder.shares is not None:
        yield "split", ",".join(map(str, folder.shares))


def _notes(folder: Folder, rows: Rows, known: set[str]) -> list[str]:
    """What to know of the documents beside their scores."""
    notes = []
    if folder.shares is not None:
        shares = ",".join(map(str, folder.shares))
        counts = ", ".join(f"{split} {len(rows[split])}" for split in SPLITS)
        notes.append(f"its splits are made by a hash of the file names (--split {shares}: {counts} documents)")
    if folder.key_order != "donut":
        notes.append("keys are written as they stand in the file, not in Donut's order")
    return [*notes, *_unseen(folder, rows, known)]


def _unseen(folder: Folder, rows: Rows, known: set[str]) -> list[str]:
    """Keys that training never has are spelled in pieces, and nothing has taught the model to write them."""
    first: dict[str, str] = {}
    documents = 0
    for row in (row for split in SPLITS[1:] for row in rows[split]):
        new = sorted(set().union(*map(keys_of, row.truths)) - known)
        documents += bool(new)
        for key in new:
            first.setdefault(key, _within(folder.path, row.source))
    if not first:
        return []
    keys = ", ".join(f"{key!r} ({source})" for key, source in list(first.items())[:3])
    more = f" and {len(first) - 3} more" if len(first) > 3 else ""
    have = "document has" if documents == 1 else "documents have"
    return [f"{documents} {have} keys that training never has: {keys}{more}"]
