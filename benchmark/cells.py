"""Cells: what is run, and the key that changes with everything that can change a result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from benchmark.errors import UserError
from benchmark.plugin_manager import check_known
from benchmark.results import cell_name
from benchmark.scales import Scale
from benchmark.types import Dataset, Strategy

_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
PROTOCOL = 3
"""Raise when training or scoring changes, so that finished cells are run again."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Strategy x data set x scale x seed x budget."""

    strategy: Strategy
    dataset: Dataset
    scale: Scale
    budget: str
    seed: int

    @property
    def name(self) -> str:
        return cell_name(self.strategy.name, self.dataset.name, self.scale.name, self.budget, self.seed)

    @property
    def title(self) -> str:
        return f"{self.strategy.name} on {self.dataset.name}, seed {self.seed}"


def key_of(cell: Cell, zoo: str, limit: int | None) -> str:
    """A hash of the strategy's parts, the data set, the scale, budget, seed, reference models and limit."""
    facts = {
        "protocol": PROTOCOL,
        "strategy": [cell.strategy.name, cell.strategy.upstream, identity_of(cell.strategy)],
        "dataset": [cell.dataset.name, cell.dataset.version],
        "scale": repr(cell.scale),
        "budget": cell.budget,
        "seed": cell.seed,
        "zoo": zoo,
        "limit": limit,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def identity_of(strategy: Strategy) -> str:
    """A hash of the strategy's parts with their options, and its rate: what training makes of it."""
    facts = [*(_identity(part) for part in parts_of(strategy).values()), strategy.rate]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _identity(part: object) -> object:
    """What a part is, the same in every process: its fields, or of a plain function what it does."""
    if isinstance(part, FunctionType):
        code = part.__code__
        return [part.__qualname__, code.co_code.hex(), [_constant(c) for c in code.co_consts], list(code.co_names)]
    if type(part).__repr__ is object.__repr__:
        return [type(part).__qualname__, {name: _identity(value) for name, value in sorted(vars(part).items())}]
    return repr(part)


def _constant(value: object) -> object:
    if isinstance(value, frozenset):  # printed in another order in every process
        return sorted(map(repr, value))
    return value.co_code.hex() if isinstance(value, CodeType) else repr(value)


def parts_of(strategy: Strategy) -> dict[str, Any]:
    return {"start": strategy.start, "objective": strategy.objective, "constraint": strategy.constraint}


def describe(part: object) -> str:
    """How a part is named in the tables: its text, or the name of a plain function."""
    return str(getattr(part, "__name__", None) or part)


def with_options(strategies: Iterable[Strategy], options: Mapping[str, str]) -> list[Strategy]:
    """Strategies whose parts have these options set (``--set target=half``).

    `UserError` for an option that no part has, or a value that does not fit.
    """
    chosen = list(strategies)
    known = {name for strategy in chosen for part in parts_of(strategy).values() for name in _options(part)}
    for name in options:
        check_known("option", name, known)
    return [dataclasses.replace(s, **{kind: _set(part, options) for kind, part in parts_of(s).items()}) for s in chosen]


def _options(part: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return {}
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _set(part: Any, options: Mapping[str, str]) -> Any:
    present = _options(part)
    changes = {name: _convert(name, text, present[name]) for name, text in options.items() if name in present}
    return dataclasses.replace(part, **changes) if changes else part


def _convert(name: str, text: str, now: object) -> object:
    if isinstance(now, bool):
        if text.lower() not in _SWITCH:
            raise UserError(f"--set {name}={text}: expected true or false")
        return _SWITCH[text.lower()]
    if not isinstance(now, (int, float)):
        return text
    try:
        return type(now)(text)
    except ValueError:
        raise UserError(f"--set {name}={text}: expected a {type(now).__name__}") from None
