"""What holds of every strategy that zeroes weights at once, whatever says which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from benchmark import FeatureDistillation, FixedMask, References, Strategy, UserError
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from benchmark.running.cells import with_options
from benchmark.scales import TINY
from donutbench_strategies import erk, lamp, snip, sparsegpt, taylor, two_four, wanda

TABLES = ("embed_tokens.weight", "embed_positions.weight", "bridge.rows", "bridge.columns", "lm_head.weight")
BLIND, LOOKING = (lamp, erk, two_four), (wanda, taylor, snip, sparsegpt)
TARGETED = (lamp, erk, wanda, taylor, snip, sparsegpt)

Weights = Mapping[str, torch.Tensor]


def named(modules: Iterable[ModuleType]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("plugin", [pytest.param(m, id=m.__name__.rpartition(".")[2]) for m in modules])


def rows_of(plugin: ModuleType) -> list[Strategy]:
    return list(plugin.donutbench_register_strategies())


def started(plugin: ModuleType, references: References, **options: object) -> Donut:
    """The model that its start gives, on few documents if it looks at any."""
    few = {"documents": "2"} if plugin in LOOKING else {}
    ((strategy, _),) = with_options(rows_of(plugin)[:1], {**few, **{name: str(v) for name, v in options.items()}})
    model = strategy.start(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


@pytest.fixture(scope="module")
def once(references: References) -> Callable[[ModuleType], Weights]:
    """The weights that a start gives as it is, computed once."""
    return cache(lambda plugin: values(started(plugin, references)))


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def zeros(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: weight == 0 for name, weight in weights.items()}


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@named([*BLIND, *LOOKING])
def test_it_is_registered_alone_and_distilled(plugin: ModuleType) -> None:
    alone, distilled = rows_of(plugin)
    assert alone.name == plugin.__name__.rpartition(".")[2].replace("_", "-")
    assert distilled.name == f"{alone.name}-distill"
    assert (alone.objective, alone.constraint) == (None, None)
    assert (distilled.objective, distilled.constraint) == (FeatureDistillation(temperature=2.0), FixedMask())
    assert distilled.start == alone.start
    assert {*alone.protocols, *distilled.protocols} == {"task"}
    assert alone.summary != distilled.summary
    assert alone.paper


@named(TARGETED)
def test_the_budget_is_met_exactly(
    plugin: ModuleType, references: References, once: Callable[[ModuleType], Weights]
) -> None:
    teacher = references.load("teacher")
    size = sum(weight.numel() for name, weight in teacher.named_parameters() if not name.endswith(TABLES))
    for sparsity, after in ((1 - 37 / 141, once(plugin)), (0.875, values(started(plugin, references, ratio=8)))):
        assert sum(int(zeros(after)[name].sum()) for name in prunable(teacher)) == round(sparsity * size)


@named([*BLIND, *LOOKING])
def test_it_prunes_matrices_and_leaves_the_rest(
    plugin: ModuleType, references: References, once: Callable[[ModuleType], Weights]
) -> None:
    teacher = references.load("teacher")
    before, after = values(teacher), once(plugin)
    assert same(before, values(references.load("teacher")))
    for name, weight in after.items():
        if name not in prunable(teacher):
            assert torch.equal(weight, before[name])
        elif plugin is not sparsegpt:  # which changes those that stay
            kept = weight != 0
            assert int(kept.sum()) > 0
            assert torch.equal(weight[kept], before[name][kept])


@named([*BLIND, *LOOKING])
def test_it_gives_the_same_twice(
    plugin: ModuleType, references: References, once: Callable[[ModuleType], Weights]
) -> None:
    assert same(once(plugin), values(started(plugin, references)))


@named(LOOKING)
def test_other_documents_say_something_else(
    plugin: ModuleType, references: References, once: Callable[[ModuleType], Weights]
) -> None:
    assert not same(zeros(once(plugin)), zeros(values(started(plugin, references, draw=1))))


@named(BLIND)
def test_no_document_is_asked_for(plugin: ModuleType, model: Donut) -> None:
    class Models:
        def load(self, name: str) -> Donut:
            return deepcopy(model)

        def calibration(self, count: int, draw: int = 0) -> Any:
            raise AssertionError("it looks at no data")

        def tokens(self, count: int) -> Any:
            raise AssertionError("it looks at no text")

    started(plugin, Models())


def scaled_values(model: Donut) -> None:
    """Scale what the values of an attention give and undo it behind: the same model, to the last bit."""
    layer = model.decoder.model.decoder.layers[1].encoder_attn
    factors = 2.0 ** (torch.arange(layer.v_proj.out_features) % 9 - 4)
    with torch.no_grad():
        layer.v_proj.weight.mul_(factors[:, None])
        layer.v_proj.bias.mul_(factors)
        layer.out_proj.weight.div_(factors)


def scaled_inputs(model: Donut) -> None:
    """Scale what a norm gives and undo it in the layer behind."""
    layer = model.decoder.model.decoder.layers[2]
    factors = 2.0 ** (torch.arange(layer.fc1.in_features) % 9 - 4)
    with torch.no_grad():
        layer.final_layer_norm.weight.mul_(factors)
        layer.final_layer_norm.bias.mul_(factors)
        layer.fc1.weight.div_(factors)


@named([wanda, taylor, snip, lamp, erk])
@pytest.mark.parametrize("scale", [scaled_values, scaled_inputs])
def test_only_scores_of_data_see_through_a_change_of_scale(
    plugin: ModuleType,
    scale: Callable[[Donut], None],
    references: References,
    once: Callable[[ModuleType], Weights],
) -> None:
    class Scaled:
        def load(self, name: str) -> Donut:
            model = references.load(name)
            assert isinstance(model, Donut)
            scale(model)
            return model

        def calibration(self, count: int, draw: int = 0) -> Any:
            return references.calibration(count, draw)

        def tokens(self, count: int) -> Any:
            raise AssertionError("it looks at no text")

    found = zeros(values(started(plugin, Scaled())))
    assert same(zeros(once(plugin)), found) == (plugin in LOOKING)


@named(LOOKING)
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"documents": "0"}, r"^what looks at data needs at least 1 document, not 0$"),
        ({"draw": "-1"}, r"^draws of documents are counted from 0, and there is none of number -1$"),
        ({"target": "half", "ratio": "4"}, r"^target half and ratio 4 both say how much goes$"),
        ({"target": "most"}, r"^sparsity target 'most' is neither"),
        ({"ratio": "1"}, r"^ratio 1 is neither a share below 1 that stays nor a factor above 1$"),
    ],
)
def test_what_cannot_be_is_refused(plugin: ModuleType, option: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_options(rows_of(plugin)[:1], option)


@named(TARGETED)
def test_more_than_there_is_cannot_be_pruned(plugin: ModuleType, references: References) -> None:
    with pytest.raises(ValueError, match=r"^cannot prune \d+ weights: only \d+ of \d+ are prunable$"):
        started(plugin, references, target="0.9999")
