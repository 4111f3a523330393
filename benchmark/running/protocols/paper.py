"""`paper`: the strategy makes its model on the reading set, upstream; that model is fine-tuned on the task.

The way of the paper's Tables 2 to 5. Objective and constraint are the same both times. What trains nothing is applied
to the teacher of each data set.
"""

from __future__ import annotations

from dataclasses import replace

from benchmark.running.cells import Cell
from benchmark.running.route import DRAWS, FromCell, FromStart, FromZoo, Protocol, Route, Surroundings, documents_of
from benchmark.types import Dataset, Strategy

ZOO_MODEL = "the upstream model, which is the zoo's one"


def route(cell: Cell, surroundings: Surroundings) -> Route:
    """On a task from the upstream model; upstream from the zoo, where that has been done with the full budget."""
    dataset, reading = cell.dataset, surroundings.reading
    if cell.strategy.objective is None:
        return Route(FromStart(), trains=False, teacher=dataset, seed_changes=(DRAWS,))
    if dataset.name != reading.name:
        upstream = upstream_cell(cell, reading)
        before = route(upstream, surroundings)
        changes = (*before.seed_changes, documents_of(dataset))
        return replace(before, begin=FromCell(upstream), trains=True, teacher=dataset, seed_changes=changes)
    if not learns_upstream(cell.strategy):
        return Route(FromStart(), trains=False, teacher=reading, seed_changes=(DRAWS,))
    changes = (DRAWS, documents_of(reading))
    recipe = surroundings.upstream_recipe(cell) if _may_begin_from_the_zoo(cell) else None
    if recipe is None:
        return Route(FromStart(), trains=True, teacher=reading, seed_changes=changes)
    if cell.budget == "quick":
        return Route(FromZoo(recipe), trains=False, teacher=reading, seed_keeps=(ZOO_MODEL,))
    # The zoo's is what seed 0 gives, and other seeds give others.
    return Route(FromZoo(recipe), trains=False, teacher=reading, seed_changes=changes)


def learns_upstream(strategy: Strategy) -> bool:
    return "paper" in strategy.protocols and strategy.trains_upstream and strategy.objective is not None


def upstream_cell(cell: Cell, reading: Dataset) -> Cell:
    """The cell of the upstream model: at the budget's own rate, whatever that of the task.

    What trains is not finished there, for the task trains it on.
    """
    options = tuple(option for option in cell.options if option[0] != "rate")
    finish = cell.strategy.finish if cell.strategy.objective is None else None
    strategy = replace(cell.strategy, rate=1.0, finish=finish)
    return replace(cell, strategy=strategy, dataset=reading, options=options)


def _may_begin_from_the_zoo(cell: Cell) -> bool:
    # The zoo's models are of seed 0: enough for a quick run, while the seeds of a full one are to differ upstream too.
    return cell.budget == "quick" or cell.seed == 0


PAPER = Protocol("paper", route)
