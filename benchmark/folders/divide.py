"""The splits of a folder: as it has them, or divided by a hash of the file names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain

from benchmark.errors import UserError
from benchmark.folders.folder import Folder, Shares
from benchmark.folders.metadata import METADATA, Row, read_metadata
from benchmark.types import SPLITS, Split

Rows = dict[Split, tuple[Row, ...]]


def read_splits(folder: Folder) -> Rows:
    """The documents of every split, none where the folder has none. Raises `UserError` for what cannot be read."""
    if not folder.path.is_dir():
        raise UserError(f"data set {folder.name}: {folder.path} is not a folder")
    spellings: dict[str, str] = {}  # of all splits: tags match without case
    found = {
        split: read_metadata(folder.path / split, folder.key_order, spellings)
        for split in SPLITS
        if (folder.path / split / METADATA).is_file()
    }
    flat = (folder.path / METADATA).is_file()
    if not found and not flat:
        raise UserError(f"data set {folder.name}: {folder.path} has no train/{METADATA}, and no {METADATA} of its own")
    own: Rows = {split: tuple(found.get(split, ())) for split in SPLITS}
    if folder.shares is None:
        return own
    loose = read_metadata(folder.path, folder.key_order, spellings) if flat else []
    return _divided(own, loose, folder.shares)


def _divided(own: Rows, loose: Iterable[Row], shares: Shares) -> Rows:
    """All documents in splits by their names; what has no share stays as it is, and gives nothing away."""
    shared = [split for split, share in zip(SPLITS, shares, strict=True) if share]
    divided: dict[Split, list[Row]] = {split: [] for split in shared}
    for row in chain(loose, *(own[split] for split in shared)):
        divided[split_of(row.file_name, shares)].append(row)
    return own | {split: tuple(found) for split, found in divided.items()}


def split_of(file_name: str, shares: Shares) -> Split:
    """The split of a document: that of its name alone, so that documents which are added move no others."""
    number = int.from_bytes(hashlib.sha256(file_name.encode()).digest()[:8], "big")
    place = 100 * number / 2**64
    return next(split for split, edge in zip(SPLITS, accumulate(shares), strict=True) if place < edge)


def check_splits(folder: Folder, rows: Rows, needed: Sequence[Split]) -> None:
    """Raise `UserError` for a needed split without documents, with the option that would make one."""
    for split in needed:
        if rows[split]:
            continue
        if folder.shares is not None and folder.shares[SPLITS.index(split)]:
            shares = ",".join(map(str, folder.shares))
            count = sum(map(len, rows.values()))
            raise UserError(f"data set {folder.name}: --split {shares} leaves {split} none of {count} documents")
        if (folder.path / split / METADATA).is_file():
            what = f"{folder.path / split / METADATA} has no documents"
        else:
            what = f"{folder.path} has no {split}/{METADATA}"
        raise UserError(f"data set {folder.name}: {what}; --split 80,10,10 divides what the folder has: see --help")
