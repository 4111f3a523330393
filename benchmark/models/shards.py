"""Weights in several files: an index says which tensor lies in which of them."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError, first_line
from benchmark.records.files import read_json


def check_shards(index: Path) -> None:
    """Raise `UserError` unless all files that an index names are safetensors files that lie beside it."""
    try:
        files = {str(file) for file in read_json(index, "an index of weights")["weight_map"].values()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{index} is not {{"weight_map": {{WEIGHT: FILE}}}}: {first_line(error)}') from error
    for file in sorted(files):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise UserError(f"{index} names {file}, which is no safetensors file beside it: no other is read")
        if not (index.parent / file).is_file():
            raise UserError(f"{index} names {file}, which is not there: the weights lie in {len(files)} files")
