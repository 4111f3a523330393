"""Routes: how a protocol has the model of a cell made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.running.cells import Cell
from benchmark.types import Dataset, ProtocolName


@dataclass(frozen=True, slots=True)
class FromStart:
    """Begin with the start of the strategy, applied to the references."""


@dataclass(frozen=True, slots=True)
class FromZoo:
    """Begin with what the zoo says that the strategy has become upstream; `recipe` is how that was made."""

    recipe: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FromCell:
    """Begin with the model of another cell, which has to be made before."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class Route:
    """What the model of a cell begins with, and whether it is then trained on the data set of the cell.

    `teacher` is the data set whose teacher is its reference. `seed_changes` and `seed_keeps` are noun phrases. A model
    that others are pruned from is `balanced` at its end.
    """

    begin: FromStart | FromZoo | FromCell
    trains: bool
    teacher: Dataset
    seed_changes: tuple[str, ...] = ()
    seed_keeps: tuple[str, ...] = ()
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a protocol knows of a run: the data set that upstream models read, and what of them the zoo has."""

    reading: Dataset
    upstream_recipe: Callable[[Cell], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Protocol:
    """`route` is the way of a cell's model; `refusal` says why a data set has no place in it, None if it has one."""

    name: ProtocolName
    route: Callable[[Cell, Surroundings], Route]
    refusal: Callable[[Dataset, str], str | None] = field(default=lambda dataset, reading: None)


DRAWS = "what the start draws at random"


def documents_of(dataset: Dataset) -> str:
    """What a seed changes of a training."""
    return f"the training documents of {dataset.name} and their order"
