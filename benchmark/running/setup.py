"""What a run is made of, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from rich.console import Console

from benchmark.devices import find_device
from benchmark.errors import UserError
from benchmark.folders.read import with_folders
from benchmark.parts.starts import Reference
from benchmark.plugin.manager import Registry, load_plugins
from benchmark.processes import leads, processes
from benchmark.running.cells import Cell, missing_of, with_options
from benchmark.running.checkpoints import Checkpoints
from benchmark.running.config import RunConfig
from benchmark.running.plan import Job, Planner
from benchmark.running.protocols import select
from benchmark.running.protocols.paper import upstream_cell
from benchmark.scales import Scale
from benchmark.zoo.find import find_zoo
from benchmark.zoo.store import Zoo


@dataclass(frozen=True, slots=True)
class Run:
    """The jobs of a run, what is needed first, and what they are made from, on and in."""

    config: RunConfig
    jobs: list[Job]
    planner: Planner
    registry: Registry
    scale: Scale
    zoo: Zoo
    checkpoints: Checkpoints
    device: torch.device
    remarks: tuple[str, ...]
    """What to say before it begins: which strategies have no cells, and what a given teacher has to learn."""
    console: Console = field(default_factory=lambda: Console(stderr=True, quiet=not leads()))

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def set_up(config: RunConfig, vary: Callable[[list[Cell]], list[Cell]] | None = None) -> Run:
    """What a run will do: seed by seed, reading before tasks; `vary` makes other cells of these.

    Raises `UserError` for a strategy, data set, option or device that does not exist, a folder that cannot be read, a
    part of a strategy without an identity, and what the protocol or a launch of several processes has no place for.
    """
    if config.jobs > 1 and processes() > 1:
        raise UserError(f"--jobs {config.jobs}: the {processes()} processes of this launch train each cell together")
    config = replace(config, changes=config.changes.over(processes()))
    registry = with_folders(load_plugins(config.plugins), config.data)
    device = find_device(config.device)
    zoo = find_zoo(config.scale, config.teacher, config.changes)
    scale = zoo.scale
    select(registry, config.protocol, scale.reading, ",".join(config.strategies), ",".join(config.datasets))
    # Read now: what is edited while a run goes on belongs to the next one.
    contents = {
        **{("strategy", name): registry.strategies[name].content for name in config.strategies},
        **{("dataset", name): registry.datasets[name].content for name in (*config.datasets, scale.reading)},
    }
    left_out = _left_out(config, registry, zoo)
    cells = _cells(config, registry, scale, [name for name in config.strategies if name not in left_out], device.type)
    about = (zoo.remark(registry.datasets[name].item) for name in config.datasets)
    remarks = (*left_out.values(), *filter(None, about))
    planner = Planner(zoo, registry.datasets[scale.reading].item, contents)
    jobs = planner.plan(vary(cells) if vary else cells)
    return Run(config, jobs, planner, registry, scale, zoo, Checkpoints(config.output), device, remarks)


def _left_out(config: RunConfig, registry: Registry, zoo: Zoo) -> dict[str, str]:
    """Strategies that begin with a reference model that there is not, as a given teacher brings no other.

    Those that compare over a batch, where none is seen in one: they would learn something else. And those whose finish
    computes with what is not installed.
    """
    starts = {name: registry.strategies[name].item.start for name in config.strategies}
    wanted = {name: start.name for name, start in starts.items() if isinstance(start, Reference)}
    left_out = {
        name: f"{name} is left out: it begins with the reference model {model!r}, which {_title(zoo)} does not bring"
        for name, model in wanted.items()
        if not zoo.brings(model)
    }
    objectives = {name: registry.strategies[name].item.objective for name in config.strategies}
    if config.changes.accumulate not in (None, 1):
        left_out |= {
            name: f"{name} is left out: it compares over a whole batch, which --accumulate and a launch of "
            "several processes divide; --checkpointing saves memory too"
            for name, objective in objectives.items()
            if objective is not None
            # Parts that learn are averaged over no processes.
            and (hasattr(objective, "parts") or getattr(objective, "whole_batch", objective.teaching == "features"))
        }
    for name in config.strategies:
        missing = missing_of(registry.strategies[name].item)
        if missing:
            left_out[name] = f"{name} is left out: it needs {' and '.join(missing)}: pip install {' '.join(missing)}"
    if len(left_out) == len(config.strategies):
        raise UserError("; ".join(left_out.values()))
    return left_out


def _title(zoo: Zoo) -> str:
    return zoo.given or f"the zoo of scale {zoo.scale.name}"


def _cells(config: RunConfig, registry: Registry, scale: Scale, names: Sequence[str], device: str) -> list[Cell]:
    protocol = config.protocol
    reading = registry.datasets[scale.reading].item
    datasets = [registry.datasets[name].item for name in config.datasets]
    strategies = [registry.strategies[name].item.under(protocol) for name in names]
    swept = [
        {**config.options, **dict(zip(config.sweep, some, strict=True))} for some in product(*config.sweep.values())
    ]
    cells = [
        Cell(strategy, dataset, scale, protocol, config.budget, seed, options, config.limit, device)
        for seed in config.seeds
        # All rows of one data set in succession: what its teacher says is kept meanwhile.
        for dataset in sorted(datasets, key=lambda d: d.task != "reading")
        for values in swept
        for strategy, options in with_options(strategies, values)
    ]
    found = [upstream_cell(cell, reading) if cell.dataset.name == reading.name else cell for cell in cells]
    return list({cell.name: cell for cell in found}.values())  # a strategy without the option is the same in all
