"""Trials of rates: how a strategy does on the validation split at each, as one JSON a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.errors import UserError
from benchmark.records.files import write_atomically
from benchmark.types import ProtocolName


class Trial(BaseModel):
    """One training at one rate: validation N-TED accuracy after its last step, None if it came to no end."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str
    dataset: str
    scale: str
    protocol: ProtocolName = "paper"  # older files know no other
    budget: str
    seed: int
    limit: int | None = None
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

    Only rates that were tried wherever another was are compared; one that came to no end anywhere is out. All trials
    are of one scale, protocol, budget and limit.
    """
    scores: dict[str, dict[float, Scores]] = {}
    for trial in trials:
        of_rate = scores.setdefault(trial.strategy, {}).setdefault(trial.rate, {})
        of_rate[trial.dataset, trial.seed] = trial.validation_ted
    means = {strategy: _means(rates) for strategy, rates in scores.items()}
    return {strategy: _best(of_rates) for strategy, of_rates in means.items() if of_rates}


Scores = dict[tuple[str, int], float | None]
"""By data set and seed."""


def _means(rates: dict[float, Scores]) -> dict[float, float]:
    """Of the rates that have a score everywhere."""
    places = {place for scores in rates.values() for place in scores}
    known = {rate: [ted for ted in scores.values() if ted is not None] for rate, scores in rates.items()}
    return {rate: sum(teds) / len(teds) for rate, teds in known.items() if len(teds) == len(places)}


def _best(means: dict[float, float]) -> float:
    return min(means, key=lambda rate: (-round(means[rate], 6), rate))
