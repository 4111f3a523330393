"""Records and predictions as files: one JSON a cell, its predictions beside it."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.errors import OutputError, UserError, one_line
from benchmark.records.migrations import migrate
from benchmark.records.record import SCHEMA_VERSION, Prediction, Record


def record_path(directory: Path, cell: str) -> Path:
    return directory / "results" / f"{cell}.json"


def predictions_path(directory: Path, cell: str) -> Path:
    return directory / "results" / f"{cell}.predictions.jsonl"


def shifted_predictions_path(directory: Path, cell: str) -> Path:
    """Where the predictions for the second test split of a cell's data set are."""
    return directory / "results" / f"{cell}.shifted.predictions.jsonl"


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either all of it or what it held before, with its mode; makes the folder.

    Raises `UserError` with the path and the reason if the system refuses (disk full, no permission).
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def write_record(directory: Path, record: Record) -> Path:
    """Write ``DIR/results/<cell>.json`` and return its path. Atomic, and raises, as `write_atomically`."""
    path = record_path(directory, record.cell)
    write_atomically(path, (record.model_dump_json(indent=2) + "\n").encode())
    return path


def read_record(path: Path) -> Record:
    """Read one record, of this version or an older one.

    Raises `UserError` naming the file if it is broken, renamed or of a version that is not known.
    """
    content = read_json(path, "a record")
    try:
        version = content.get("schema_version") if isinstance(content, dict) else None
        if not isinstance(version, int):
            version = SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            content = migrate(content, version)
            if content is None:
                raise UserError(f"{path}: schema version {version}, but this benchmark reads 1 to {SCHEMA_VERSION}")
        record = Record.model_validate(content)
    except ValueError as error:
        raise UserError(f"{path}: not a record: {_told(error)}") from error
    if path.stem not in {record.cell, record.old_cell if version < 3 else record.cell}:
        # A renamed copy would be counted as another cell.
        raise UserError(f"{path}: holds the record of the cell {record.cell}")
    return record


def read_records(directory: Path) -> list[Record]:
    """All records of ``DIR/results``, sorted by cell name (no folder: none). Raises as `read_record`.

    Of two that an older and this version wrote of one cell, it is that of this version.
    """
    found: dict[str, Record] = {}
    for path in _record_paths(directory):
        record = read_record(path)
        if path.stem == record.cell or record.cell not in found:
            found[record.cell] = record
    return [found[cell] for cell in sorted(found)]


def migrate_records(directory: Path) -> None:
    """Write the records of older versions in ``DIR/results`` as those of this one, under its names.

    One that was made again since is superseded and goes. Raises as `read_record` and `write_record`.
    """
    for path in _record_paths(directory):
        record = read_record(path)
        if path.stem != record.cell:
            predictions = predictions_path(directory, path.stem)
            if record_path(directory, record.cell).exists():
                predictions.unlink(missing_ok=True)
            else:
                if predictions.exists():
                    predictions.replace(predictions_path(directory, record.cell))
                write_record(directory, record)
            path.unlink()


def _record_paths(directory: Path) -> list[Path]:
    return sorted((directory / "results").glob("*.json"))


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write one JSON line a document, atomically. Raises `UserError` as `write_atomically`."""
    write_atomically(path, "".join(line.model_dump_json() + "\n" for line in predictions).encode())


def read_predictions(path: Path) -> list[Prediction]:
    """Read what `write_predictions` wrote. Raises `UserError` naming file and line if something is broken."""
    predictions = []
    for number, line in enumerate(_read(path).split(b"\n"), start=1):
        if line:
            try:
                predictions.append(Prediction.model_validate_json(line))
            except ValidationError as error:
                raise UserError(f"{path}, line {number}: not a prediction: {_told(error)}") from error
    return predictions


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file, which should be `what`. Raises `UserError` that names a file which cannot be read."""
    try:
        return json.loads(_read(path))
    except RecursionError:
        raise UserError(f"{path}: not {what}: it is nested too deep to be read") from None
    except ValueError as error:
        raise UserError(f"{path}: not {what}: {_told(error)}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _told(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return one_line(str(error))
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
