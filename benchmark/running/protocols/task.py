"""`task`: the strategy is applied to the task's own teacher and trained on the task only.

The way of people who have a fine-tuned model and want a smaller one. Every row that trains gets the same documents.
"""

from __future__ import annotations

from benchmark.running.cells import Cell
from benchmark.running.route import DRAWS, FromStart, Protocol, Route, Surroundings, documents_of
from benchmark.types import Dataset


def route(cell: Cell, surroundings: Surroundings) -> Route:
    trains = cell.strategy.objective is not None
    changes = (DRAWS, documents_of(cell.dataset)) if trains else (DRAWS,)
    return Route(FromStart(), trains, teacher=cell.dataset, seed_changes=changes)


def refusal(dataset: Dataset, reading: str) -> str | None:
    if dataset.name != reading:
        return None
    return f"data set {dataset.name} has no place in protocol task: it is what the protocol paper reads upstream"


TASK = Protocol("task", route, refusal)
