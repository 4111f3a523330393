"""What every strategy's model costs at a scale, as one JSON a folder (``costs.json``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import UserError
from benchmark.records.files import write_atomically
from benchmark.records.record import Efficiency


class Sized(BaseModel):
    """What strategies begin with that have the same start, and finish if they have one: its costs, or why it has none.

    `token_table` are the weights of the table of tokens, which the paper's Table 1 counts apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategies: tuple[str, ...]
    paper_names: tuple[str, ...] = ()
    start: str
    reference: bool = False
    token_table: int | None = None
    efficiency: Efficiency | None = None
    error: str | None = None

    @property
    def costs(self) -> tuple[Efficiency, ...]:
        return () if self.efficiency is None else (self.efficiency,)

    @property
    def failed(self) -> bool:
        return self.error is not None


class Sizes(BaseModel):
    """The costs of a scale's models, measured in one run on one machine.

    `weights` says where they are from: a teacher's name, or None where they are random and have read nothing. `page`
    is (height, width) in pixels, `tokens` how many are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: str
    weights: str | None
    page: tuple[int, int]
    tokens: int
    device: str
    environment: dict[str, str | int | float]
    rows: tuple[Sized, ...]


def sizes_path(directory: Path) -> Path:
    return directory / "costs.json"


def write_sizes(directory: Path, sizes: Sizes) -> Path:
    """Write ``DIR/costs.json``, whole or not at all. Raises `OutputError`."""
    path = sizes_path(directory)
    write_atomically(path, (sizes.model_dump_json(indent=2) + "\n").encode())
    return path


def read_sizes(directory: Path) -> Sizes | None:
    """What ``DIR/costs.json`` says, None without that file. `UserError` names a file that is broken."""
    path = sizes_path(directory)
    if not path.is_file():
        return None
    try:
        return Sizes.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: no costs: {first['loc']}: {first['msg']}") from error
