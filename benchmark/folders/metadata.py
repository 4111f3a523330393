"""``metadata.jsonl``: a line a document, each refused by file and line number if it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from benchmark.errors import UserError
from benchmark.folders.folder import KeyOrder
from benchmark.folders.truths import parse_json, truths_of
from benchmark.types import Json

METADATA = "metadata.jsonl"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """A document whose page has not been read: `file_name` as its line has it, `source` where that line stands."""

    file_name: str
    image: Path
    truths: tuple[Json, ...]
    source: str


def read_metadata(folder: Path, order: KeyOrder, spellings: dict[str, str]) -> list[Row]:
    """The documents of ``folder/metadata.jsonl``, in their order. Raises `UserError` for the first bad line.

    `spellings` is that of `check_keys`.
    """
    rows: dict[str, Row] = {}
    for where, line in _lines(folder / METADATA):
        row = _row(line, where, folder, order, spellings)
        if row.file_name in rows:
            raise UserError(f"{where}: {row.file_name} stands in {rows[row.file_name].source} already")
        rows[row.file_name] = row
    return list(rows.values())


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(place, text) of each line that is not blank."""
    content = path.read_bytes().removeprefix(_BOM)
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path}, line {number}"
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: not UTF-8: byte 0x{line[error.start]:02x} at {error.start + 1}") from None
        if text:
            yield where, text


def _row(line: str, where: str, folder: Path, order: KeyOrder, spellings: dict[str, str]) -> Row:
    row = parse_json(line, f"{where}: the line")
    missing = [name for name in ("file_name", "ground_truth") if not isinstance(row, dict) or name not in row]
    if missing:
        raise UserError(f"{where}: there is no {missing[0]}")
    image = folder / _inside(row["file_name"], where)
    try:
        there = image.is_file()
    except OSError as error:  # a name that is too long
        raise UserError(f"{where}: cannot read the image {image}: {error.strerror}") from error
    if not there:
        raise UserError(f"{where}: there is no image {image}")
    return Row(row["file_name"], image, truths_of(row["ground_truth"], where, order, spellings), where)


def _inside(name: Any, where: str) -> str:
    """A name that cannot leave its folder, on whatever system it is read."""
    # The id of a document holds no half of a surrogate pair.
    text = isinstance(name, str) and name.encode(errors="ignore").decode() == name
    paths = (PurePosixPath(name), PureWindowsPath(name)) if text else ()
    if not paths or not name.strip() or "\0" in name or any(path.anchor or ".." in path.parts for path in paths):
        raise UserError(f"{where}: the file_name {name!r:.80} is not that of a file in the folder")
    return str(name)
