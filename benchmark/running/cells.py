"""Cells: what is run, and the key that changes with everything that can change a result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from benchmark.errors import UserError, one_line
from benchmark.plugin.identity import identity
from benchmark.plugin.manager import check_known
from benchmark.records.record import cell_name
from benchmark.scales import Budget, Scale
from benchmark.types import Dataset, Json, ProtocolName, Strategy

_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
CODE = 6
"""Raise when training or scoring changes, so that finished cells are run again."""

Options = tuple[tuple[str, str], ...]
"""Options of a strategy that differ from its own, by name."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Strategy x data set x scale x protocol x budget x seed, with the strategy's options and what cuts the data.

    `strategy` has the rate of the protocol.
    """

    strategy: Strategy
    dataset: Dataset
    scale: Scale
    protocol: ProtocolName
    budget: str
    seed: int
    options: Options = ()
    limit: int | None = None
    device: str = "cpu"

    @property
    def name(self) -> str:
        return cell_name(
            self.strategy.name,
            self.dataset.name,
            self.scale.name,
            self.protocol,
            self.budget,
            self.seed,
            options=dict(self.options),
            limit=self.limit,
            device=self.device,
        )

    @property
    def resources(self) -> Budget:
        """What its budget is, as its protocol spends it: `task` reads nothing upstream."""
        budget = self.scale.budget(self.budget)
        return budget.for_one_training() if self.protocol == "task" else budget

    @property
    def title(self) -> str:
        options = "".join(f" {name}={value}" for name, value in self.options)
        return f"{self.strategy.name}{options} on {self.dataset.name}, seed {self.seed}"


def key_of(cell: Cell, plugins: Json, zoo: str, before: Sequence[str] = ()) -> str:
    """A hash of all that makes the result of a cell.

    `plugins` is the content of the plugins of its strategy and data set, `zoo` a hash of the models that it can begin
    with, `before` the keys of the cells whose models it needs: its upstream model, its task teacher. Raises `UserError`
    for a part without an identity.
    """
    strategy, dataset, budget = cell.strategy, cell.dataset, cell.resources
    facts = {
        "code": CODE,
        "protocol": cell.protocol,
        "versions": [version("torch"), version("transformers"), *versions_of(strategy).values()],
        "device": cell.device,
        "strategy": [strategy.name, strategy.trains_upstream, strategy.rate, identity_of(strategy)],
        "dataset": [dataset.name, dataset.task, list(dataset.keys), dataset.version],
        "open": None if dataset.hashed else identity(dataset.open, f"data set {dataset.name!r}: open"),
        "plugins": plugins,
        # Of the budgets only its own, and no words.
        "scale": repr(replace(cell.scale, summary="", quick=budget, full=budget, task_teacher=budget)),
        "seed": cell.seed,
        "limit": cell.limit,
        "zoo": zoo,
        "before": list(before),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def versions_of(strategy: Strategy) -> dict[str, str]:
    """Those of what the finish of a strategy computes with, beside torch: it names them as `packages`."""
    missing = missing_of(strategy)
    return {package: "none" if package in missing else version(package) for package in _packages(strategy)}


def missing_of(strategy: Strategy) -> list[str]:
    """Those of them that are not installed."""
    return [package for package in _packages(strategy) if find_spec(package) is None]


def _packages(strategy: Strategy) -> tuple[str, ...]:
    return tuple(getattr(strategy.finish, "packages", ()))


def identity_of(strategy: Strategy) -> Json:
    """What a strategy's parts are and how they are set. Raises `UserError` for a part without an identity."""
    return {kind: identity(part, f"strategy {strategy.name!r}: {kind}") for kind, part in parts_of(strategy).items()}


def parts_of(strategy: Strategy) -> dict[str, Any]:
    """By kind; a finish only where there is one, so that strategies are known again that were before any had one."""
    parts = {"start": strategy.start, "objective": strategy.objective, "constraint": strategy.constraint}
    return parts if strategy.finish is None else {**parts, "finish": strategy.finish}


def describe(part: object) -> str:
    """How a part is named in the tables: its text, or the name of a plain function or of a class without a text."""
    if isinstance(part, partial):
        return describe(part.func)
    if type(part).__repr__ is object.__repr__ and type(part).__str__ is object.__str__:
        return type(part).__name__  # its place in memory says nothing
    try:
        return one_line(str(getattr(part, "__name__", None) or part))
    except Exception:  # a text that a plugin writes may raise anything
        return type(part).__name__


def with_options(strategies: Iterable[Strategy], options: Mapping[str, str]) -> list[tuple[Strategy, Options]]:
    """Strategies with these options set (``--set target=half``), each with those that change it.

    Options are the fields of its parts, and its `rate`, if it trains: a field of that name is out of reach then.
    `UserError` for an option that no strategy has, or a value that does not fit.
    """
    chosen = list(strategies)
    known = {name for strategy in chosen for name in options_of(strategy)}
    for name in options:
        check_known("option", name, known)
    return [_with_options(strategy, options) for strategy in chosen]


def _with_options(strategy: Strategy, options: Mapping[str, str]) -> tuple[Strategy, Options]:
    trains = strategy.objective is not None
    of_parts = {name: text for name, text in options.items() if not (trains and name == "rate")}
    changes: dict[str, Any] = {kind: _set(part, of_parts) for kind, part in parts_of(strategy).items()}
    if trains and "rate" in options:
        changes["rate"] = _convert("rate", options["rate"], strategy.rate)
    changed = replace(strategy, **changes)
    before, now = options_of(strategy), options_of(changed)
    # By the value and not by how it was typed, so that 0.50 and 0.5 are one cell.
    return changed, tuple((name, str(now[name][0])) for name in sorted(options) if before.get(name) != now.get(name))


def options_of(strategy: Strategy) -> dict[str, list[Any]]:
    """The values of each option: several where parts share its name."""
    options: dict[str, list[Any]] = {}
    for part in parts_of(strategy).values():
        for name, value in _options(part).items():
            options.setdefault(name, []).append(value)
    return options if strategy.objective is None else {**options, "rate": [strategy.rate]}


def _fields(part: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return {}
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _options(part: object) -> dict[str, Any]:
    """The fields of a part, and in the place of one that is a part itself, such as a score, the fields of that."""
    options: dict[str, Any] = {}
    for name, value in _fields(part).items():
        options |= _options(value) if dataclasses.is_dataclass(value) else {name: value}
    return options


def _set(part: Any, options: Mapping[str, str]) -> Any:
    changes: dict[str, Any] = {}
    for name, value in _fields(part).items():
        if dataclasses.is_dataclass(value):
            changes[name] = _set(value, options)
        elif name in options:
            changes[name] = _convert(name, options[name], value)
    changed = {name: value for name, value in changes.items() if value is not getattr(part, name)}
    return dataclasses.replace(part, **changed) if changed else part


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
