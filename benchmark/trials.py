"""Trials of rates: how a strategy does on the validation split at each, as one JSON a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.errors import UserError
from benchmark.results import write_atomically


class Trial(BaseModel):
    """One training at one rate: validation N-TED accuracy after its last step, None if it came to no end."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str
    dataset: str
    scale: str
    budget: str
    seed: int
    rate: float
    learning_rate: float
    steps: int
    validation_documents: int
    validation_ted: Annotated[float, Field(ge=0, le=1)] | None
    key: str


_TRIALS = TypeAdapter(list[Trial])


def trials_path(directory: Path) -> Path:
    return directory / "rates.json"


def write_trials(directory: Path, trials: Iterable[Trial]) -> Path:
    """Write ``DIR/rates.json``, whole or not at all. Raises `OutputError`."""
    path = trials_path(directory)
    rows = [trial.model_dump() for trial in trials]
    write_atomically(path, (json.dumps(rows, indent=2) + "\n").encode())
    return path


def read_trials(directory: Path) -> list[Trial]:
    """The trials in ``DIR/rates.json``, none without that file. `UserError` names a file that is broken."""
    path = trials_path(directory)
    if not path.is_file():
        return []
    try:
        return _TRIALS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: no list of trials: {first['loc']}: {first['msg']}") from error


def best_rates(trials: Iterable[Trial]) -> dict[str, float]:
    """For each strategy the rate of the best mean over data sets and seeds; the lower one of two equals.

    Only rates that were tried wherever another was are compared; one that came to no end anywhere is out.
    """
    scores: dict[str, dict[float, list[float | None]]] = {}
    for trial in trials:
        scores.setdefault(trial.strategy, {}).setdefault(trial.rate, []).append(trial.validation_ted)
    return {strategy: _best(rates) for strategy, rates in scores.items() if _whole(rates)}


def _whole(rates: dict[float, list[float | None]]) -> dict[float, float]:
    most = max(map(len, rates.values()))
    known = {rate: [ted for ted in teds if ted is not None] for rate, teds in rates.items()}
    return {rate: sum(teds) / most for rate, teds in known.items() if len(teds) == most}


def _best(rates: dict[float, list[float | None]]) -> float:
    means = _whole(rates)
    return min(means, key=lambda rate: (-round(means[rate], 6), rate))
