"""The folder that a command is to make, which appears when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.errors import OutputError, UserError


def check_new(folder: Path) -> None:
    """Raise `UserError` unless `folder` is not there yet, or is empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which appears as `folder` when it is whole.

    One that is there is filled and not replaced: it may be the one that somebody is in, a link, or a disk. Raises
    `UserError` as `check_new`, and where the disk is full.
    """
    check_new(folder)
    there = folder.is_dir()
    place = folder if there else folder.parent
    place.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=place) as parts:
            whole = Path(parts) / "whole"
            whole.mkdir()
            yield whole
            for part in sorted(whole.iterdir()) if there else ():
                part.rename(folder / part.name)
            if not there:
                whole.rename(folder)
    except OSError as error:
        if error.filename is not None:  # others say which file it is
            raise
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
