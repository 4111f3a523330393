"""Scores of units, against what they are defined to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from benchmark.models.donut import Donut
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import Group, Slices
from benchmark.slicing.importance import activation, magnitude, random, spacing, taylor
from benchmark.slicing.options import Kind
from benchmark.types import Calibration
from tests.slicing.conftest import logits

KINDS: tuple[Kind, ...] = ("ffn", "heads", "width", "layers")


def named(groups: list[Group], part: str) -> Group:
    return next(group for group in groups if part in group.name)


def first_layer(model: Donut) -> Any:
    decoder: Any = model.decoder.model.decoder
    return decoder.layers[0]


@pytest.mark.parametrize("kind", KINDS)
class TestAll:
    def test_one_score_for_each_unit(self, kind: Kind, model: Donut, calibration: Calibration) -> None:
        groups = units_of(model, kind)
        for scores in (
            magnitude(model, groups),
            taylor(model, groups, calibration),
            activation(model, groups, calibration),
            random(groups, 0),
        ):
            assert {group: score.shape for group, score in scores.items()} == {g: (g.count,) for g in groups}
            assert all(torch.isfinite(score).all() and (score >= 0).all() for score in scores.values())
            assert all(len(score.unique()) == len(score) for score in scores.values())

    def test_the_model_stays_as_it_was(self, kind: Kind, plain: Donut, calibration: Calibration) -> None:
        before = {name: value.clone() for name, value in plain.state_dict().items()}
        taylor(plain, units_of(plain, kind), calibration)
        activation(plain, units_of(plain, kind), calibration)
        assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
        assert all(parameter.grad is None for parameter in plain.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in plain.modules())
        assert not plain.training


def test_magnitude_of_an_ffn_unit_is_what_makes_it_times_what_uses_it(plain: Donut) -> None:
    group, layer = named(units_of(plain, "ffn"), "decoder.layers.0"), first_layer(plain)
    made = (layer.fc1.weight.square().sum(1) + layer.fc1.bias.square()).sqrt()
    scores = magnitude(plain, [group])[group]
    assert torch.allclose(scores, (made * layer.fc2.weight.norm(dim=0)).detach(), rtol=1e-4)


@pytest.mark.parametrize("part", ["query", "output.dense"])
def test_a_head_that_is_not_used_or_not_made_goes_first(part: str, plain: Donut) -> None:
    group = named(units_of(plain, "heads"), "layers.1.blocks.0")
    assert isinstance(group, Slices)
    own = [s for s in group.slices if (part in s.parameter if part == "output.dense" else s in group.writes)]
    with torch.no_grad():
        for piece in own:
            places = piece.indices(torch.tensor([1]), group.count)
            plain.get_parameter(piece.parameter).index_fill_(piece.dim, places, 0)
    assert magnitude(plain, [group])[group].argmin() == 1


def documents(calibration: Calibration) -> list[Calibration]:
    """Each by itself, as long as it is: the second of them ends after six tokens."""
    pixels, inputs, labels = calibration.pixel_values, calibration.decoder_input_ids, calibration.labels
    lengths = (9, 6, 9)
    return [Calibration(pixels[i : i + 1], inputs[i : i + 1, :n], labels[i : i + 1, :n]) for i, n in enumerate(lengths)]


def test_taylor_is_the_change_of_the_loss_to_first_order(plain: Donut, calibration: Calibration) -> None:
    """(d loss / d log scale of a unit)^2, here from two losses of each document."""
    plain.double()
    data = Calibration(calibration.pixel_values.double(), calibration.decoder_input_ids, calibration.labels)
    group = named(units_of(plain, "heads"), "layers.0.encoder_attn")
    assert isinstance(group, Slices)
    scores = taylor(plain, [group], data)[group]

    @torch.no_grad()
    def losses(unit: int, scale: float) -> torch.Tensor:
        for part in group.slices:
            parameter = plain.get_parameter(part.parameter)
            places = part.indices(torch.tensor([unit]), group.count)
            values = parameter.index_select(part.dim, places)
            parameter.index_copy_(part.dim, places, values * scale)
        found = [cross_entropy(logits(plain, one).flatten(0, 1), one.labels.flatten()) for one in documents(data)]
        for part in group.slices:
            parameter = plain.get_parameter(part.parameter)
            places = part.indices(torch.tensor([unit]), group.count)
            parameter.index_copy_(part.dim, places, parameter.index_select(part.dim, places) / scale)
        return torch.stack(found)

    for unit in range(group.count):
        slopes = (losses(unit, 1 + 1e-5) - losses(unit, 1 - 1e-5)) / 2e-5
        assert float(scores[unit]) == pytest.approx(float(slopes.square().mean()), rel=1e-2)


def test_activation_is_the_input_times_the_weight_that_reads_it(plain: Donut, calibration: Calibration) -> None:
    group, layer, seen = named(units_of(plain, "ffn"), "decoder.layers.0"), first_layer(plain), []
    handle = layer.fc2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for document in documents(calibration):
        logits(plain, document)
    handle.remove()
    scores = activation(plain, [group], calibration)[group]
    flow = torch.cat([one[0] for one in seen]).norm(dim=0) / len(seen) ** 0.5
    expected = flow * layer.fc2.weight.norm(dim=0)
    assert torch.allclose(scores, expected.detach(), rtol=1e-4)


def test_activation_of_a_layer_is_how_far_it_turns(plain: Donut, calibration: Calibration) -> None:
    group = named(units_of(plain, "layers"), "decoder")
    expected = torch.zeros(group.count - 1)
    for one in documents(calibration):
        inputs = {"pixel_values": one.pixel_values, "decoder_input_ids": one.decoder_input_ids}
        with torch.no_grad():
            states = plain(**inputs, output_hidden_states=True).decoder_hidden_states
        # The last of them has passed the final norm.
        turns = [1 - cosine_similarity(states[i], states[i + 1], dim=-1).mean() for i in range(len(expected))]
        expected += torch.stack(turns) / len(calibration.labels)
    assert torch.allclose(activation(plain, [group], calibration)[group][:-1], expected, atol=1e-5)


def test_random_is_of_its_seed(plain: Donut) -> None:
    (group, *_) = units_of(plain, "ffn")
    first, again, other = (random([group], seed)[group] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("layers", "kept"), [(4, [{0}, {0, 3}, {0, 1, 3}]), (7, [{0}, {0, 6}, {0, 3, 6}])])
def test_spacing_keeps_the_ends_and_then_the_farthest(layers: int, kept: list[set[int]], plain: Donut) -> None:
    group = named(units_of(plain, "layers"), "decoder")
    wide = type(group)(group.name, layers, 1, 1)  # type: ignore[call-arg]
    order = spacing([wide])[wide].argsort(descending=True).tolist()
    assert [set(order[: len(units)]) for units in kept] == kept


def test_spacing_of_a_single_one(plain: Donut) -> None:
    group = named(units_of(plain, "layers"), "layers.0.blocks")
    assert group.count == 1
    assert len(spacing([group])[group]) == 1
