"""The costs of the models that strategies begin with, each start applied once and all timed in turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

import torch
from transformers import DonutProcessor

from benchmark.devices import environment, move
from benchmark.errors import error_line
from benchmark.measure import Subject, measure
from benchmark.models.donut import Donut, donut_of
from benchmark.models.macs import FIXED_TOKENS
from benchmark.plugin.identity import identity
from benchmark.records.record import Efficiency
from benchmark.records.sizes import Sized, Sizes
from benchmark.running.cells import describe
from benchmark.scales import Scale
from benchmark.sizing.references import Blank
from benchmark.types import Strategy

_SEED = 0


def measure_sizes(
    strategies: Sequence[Strategy],
    references: Blank,
    processor: DonutProcessor,
    device: torch.device,
    rounds: int,
    say: Callable[[str], object],
) -> Sizes:
    """The costs of what each strategy begins with, finished, beside the teacher's; one that fails costs its own row.

    `say` hears in a line what is measured next.
    """
    scale, groups = references.scale, dict[str, list[Strategy]]()
    for strategy in strategies:
        parts = [identity(part, f"strategy {strategy.name!r}") for part in _untrained(strategy)]
        groups.setdefault(json.dumps(parts, sort_keys=True), []).append(strategy)
    named = {", ".join(strategy.name for strategy in group): group for group in groups.values()}
    tables: dict[str, int] = {}

    def load(name: str, strategy: Strategy) -> Subject:
        whose = f"of strategy {strategy.name!r} returned"
        model = donut_of(strategy.start(references, scale, _SEED), f"the start {whose}")
        if strategy.finish is not None:
            model = donut_of(strategy.finish(model), f"the finish {whose}")
        tables[name] = model.decoder.get_input_embeddings().weight.numel()
        return _subject(model, processor, scale, device)

    teacher = _subject(references.load("teacher"), processor, scale, device)
    found = measure(teacher, {name: partial(load, name, group[0]) for name, group in named.items()}, rounds, say)
    return Sizes(
        scale=scale.name,
        weights=None if references.zoo is None else references.zoo.given or f"the zoo of scale {scale.name}",
        page=(scale.height, scale.width),
        tokens=min(FIXED_TOKENS, scale.max_tokens - 1),
        device=device.type,
        environment=environment(device),
        rows=tuple(_sized(group, found[name], tables.get(name)) for name, group in named.items()),
    )


def _untrained(strategy: Strategy) -> list[object]:
    """The parts that say what its model costs."""
    return [strategy.start] if strategy.finish is None else [strategy.start, strategy.finish]


def _subject(model: Donut, processor: DonutProcessor, scale: Scale, device: torch.device) -> Subject:
    """What reads a blank page: what stands on it costs nothing."""
    page = torch.full((1, scale.height, scale.width), 255, dtype=torch.uint8)
    return Subject(move(model, device), processor, page, processor.tokenizer.pad_token, scale.max_tokens)


def _sized(group: Sequence[Strategy], found: Efficiency | Exception, table: int | None) -> Sized:
    return Sized(
        strategies=tuple(strategy.name for strategy in group),
        paper_names=tuple(strategy.paper_name for strategy in group if strategy.paper_name),
        start=", ".join(map(describe, _untrained(group[0]))),
        reference=any(strategy.reference for strategy in group),
        token_table=table,
        efficiency=None if isinstance(found, Exception) else found,
        error=error_line(found) if isinstance(found, Exception) else None,
    )
