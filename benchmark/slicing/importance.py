"""Which units matter least. Each gives a score for every unit of every group, of which the lowest go first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from benchmark.models.calibration import gradients, run_through
from benchmark.models.donut import Donut
from benchmark.slicing.budget import Scores
from benchmark.slicing.groups import Group, Slices, Stack
from benchmark.types import Calibration


def magnitude(model: Donut, groups: Iterable[Group]) -> Scores:
    """By the size of the weights: of FFN units and heads what makes them times what uses them, else all together.

    The norm of a filter is Li et al. 2017; the product follows from what a unit without either side does: nothing.
    """
    squares = {name: weight.detach().float().square() for name, weight in _parameters(model).items()}

    def of(group: Group) -> torch.Tensor:
        return (
            group.norms(squares) if isinstance(group, Slices) and group.kind != "width" else group.sums(squares).sqrt()
        )

    return {group: of(group) for group in groups}


def random(groups: Iterable[Group], seed: int) -> Scores:
    """By nothing: what the other scores are worth."""
    generator = torch.Generator().manual_seed(seed)
    return {group: torch.rand(group.count, generator=generator) for group in groups}


def spacing(groups: Iterable[Group]) -> Scores:
    """By place alone: the last to go are the first and the last of a stack, then what is farthest from those that stay.

    So the layers that are left lie at even distances (distil-whisper, Gandhi et al. 2023, section 3).
    """
    return {group: _spaced(group.count) for group in groups}


def _spaced(count: int) -> torch.Tensor:
    kept = [0, count - 1] if count > 1 else [0]
    while len(kept) < count:
        kept.append(max((u for u in range(count) if u not in kept), key=lambda u: min(abs(u - k) for k in kept)))
    scores = torch.zeros(count)
    scores[kept] = torch.arange(count, 0, -1.0)
    return scores


def taylor(model: Donut, groups: Sequence[Group], calibration: Calibration) -> Scores:
    """By what the loss would change without a unit, to first order: (sum of weight x gradient)^2 (Molchanov 2019).

    The mean over documents, each squared by itself: over all together the gradients of a trained model cancel out.
    """
    totals = {group: torch.zeros(group.count) for group in groups}
    weights = {name: weight.detach() for name, weight in _parameters(model).items()}
    for gradient in gradients(model, calibration):
        products = {name: weights[name] * slope for name, slope in gradient.items()}
        for group in groups:
            totals[group] += group.sums(products).square()
    return {group: total / len(calibration.labels) for group, total in totals.items()}


def activation(model: Donut, groups: Sequence[Group], calibration: Calibration) -> Scores:
    """By what flows through: the norm of each input times the weight that reads it (Wanda, Sun et al. 2024).

    Of layers by how far they turn what they are given: 1 - cosine (block influence, ShortGPT, Men et al. 2024).
    """
    flows: dict[str, torch.Tensor] = {}
    with _watched(model, groups, flows):
        run_through(model, calibration)
    means = {name: flow / len(calibration.labels) for name, flow in flows.items()}
    return {group: _flow(model, group, means) for group in groups}


def _flow(model: Donut, group: Group, flows: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if isinstance(group, Stack):
        return torch.stack([flows[name] for name in _ends(group)])
    assert isinstance(group, Slices)
    # Norms read channels too, but one weight each: what they let through is what the layers behind them are given.
    read = {part.parameter for part in group.reads if part.parameter in flows}
    return group.read({name: model.get_parameter(name).detach().square() * flows[name] for name in read}).sqrt()


def _ends(stack: Stack) -> dict[str, tuple[str, str]]:
    """The first and the last layer of each unit, by the name of the first."""
    firsts = range(0, stack.count * stack.span, stack.span)
    return {f"{stack.modules}.{f}": (f"{stack.modules}.{f}", f"{stack.modules}.{f + stack.span - 1}") for f in firsts}


@contextmanager
def _watched(model: Donut, groups: Iterable[Group], flows: dict[str, torch.Tensor]) -> Iterator[None]:
    """Add to `flows` at each forward pass: by weight the squares of its inputs, by layer how far it turns its own."""
    handles = []
    for group in groups:
        if isinstance(group, Stack):
            for first, last in _ends(group).values():
                handles += _watch_layers(model, first, last, flows)
        elif isinstance(group, Slices):
            for name in {part.parameter for part in group.reads}:
                module = model.get_submodule(name.rpartition(".")[0])
                if isinstance(module, nn.Linear):
                    handles.append(module.register_forward_pre_hook(partial(_note_input, flows, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_input(flows: dict[str, torch.Tensor], name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    flows[name] = flows.get(name, torch.zeros(())) + inputs[0].flatten(0, -2).square().sum(0)


def _watch_layers(model: Donut, first: str, last: str, flows: dict[str, torch.Tensor]) -> list[Any]:
    given: list[torch.Tensor] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.append(args[0] if args else kwargs["hidden_states"])

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        turned = (1 - cosine_similarity(given.pop(), hidden, dim=-1)).mean()
        flows[first] = flows.get(first, torch.zeros(())) + turned

    return [
        model.get_submodule(first).register_forward_pre_hook(before, with_kwargs=True),
        model.get_submodule(last).register_forward_hook(after),
    ]


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters(remove_duplicate=False))
