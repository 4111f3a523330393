"""Signatures: the same for the same work, another for any other work."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import DonutProcessor, MBartForCausalLM

from benchmark.measure import Subject
from benchmark.measure.computation import signature
from benchmark.models.checkpoint import load_model, save_model
from benchmark.models.donut import Donut, build
from benchmark.scales import TINY, Architecture, Scale

TEACHER = TINY.teacher
Sign = Callable[[Donut], str]


class OtherDecoder(MBartForCausalLM):
    """Not known to `models.greedy`: `generate` reads with it, which does more."""


class Twice(nn.Linear):
    """Of the shape of a linear layer, but more work."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (super().forward(states) + super().forward(states)) / 2


@pytest.fixture(scope="module")
def sign(subject: Callable[[Donut], Subject]) -> Sign:
    def signed(model: Donut) -> str:
        given = subject(model)
        return signature(model, given.processor, given.page, tokens=11)

    return signed


@pytest.fixture
def copied(teacher: Donut) -> Donut:
    return deepcopy(teacher)


def test_the_values_of_weights_do_not_matter(
    teacher: Donut, pruned: Donut, processor: DonutProcessor, sign: Sign
) -> None:
    other = build(TINY, TEACHER, len(processor.tokenizer), seed=1)
    assert sign(teacher) == sign(pruned) == sign(other)


def test_nor_does_the_way_in_which_they_were_stored(pruned: Donut, sign: Sign, tmp_path: Path) -> None:
    for packed in (False, True):
        save_model(pruned, tmp_path / str(packed), packed=packed)
        assert sign(load_model(tmp_path / str(packed))) == sign(pruned)


def test_nor_what_the_model_did_before(copied: Donut, sign: Sign) -> None:
    first = sign(copied)
    copied.train()
    assert sign(copied) == first
    assert copied.training


def test_nor_what_a_configuration_says_of_paths_versions_and_losses(copied: Donut, sign: Sign) -> None:
    before = sign(copied)
    for config in (copied.config, copied.decoder.config, copied.encoder.config):
        config._name_or_path = "/somewhere/else"
        config.transformers_version = "5.0.0"
        config.eos_token_id, config.pad_token_id = 7, 8
        config.initializer_range = 3.0
    assert sign(copied) == before


def test_small_models_do_other_work(teacher: Donut, small: Donut, sign: Sign) -> None:
    assert sign(small) != sign(teacher)


@pytest.mark.parametrize(
    ("scale", "architecture", "tokens"),
    [
        (TINY, replace(TEACHER, decoder_layers=5), 0),
        (TINY, replace(TEACHER, depths=(2, 2)), 0),
        # These leave the shapes of all weights as they are, or nearly.
        (TINY, replace(TEACHER, decoder_heads=4), 0),
        (TINY, replace(TEACHER, encoder_heads=(1, 3)), 0),
        (replace(TINY, window=2), TEACHER, 0),
        (TINY, TEACHER, 1),
        (replace(TINY, max_tokens=200), TEACHER, 0),
    ],
    ids=["a decoder layer", "depths", "decoder heads", "encoder heads", "window", "a token", "positions"],
)
def test_sizes_matter(
    scale: Scale, architecture: Architecture, tokens: int, teacher: Donut, processor: DonutProcessor, sign: Sign
) -> None:
    other = build(scale, architecture, len(processor.tokenizer) + tokens, seed=0)
    assert sign(other) != sign(teacher)


def test_precision_matters(copied: Donut, sign: Sign) -> None:
    kinds = (torch.float32, torch.float16, torch.int32)
    signatures = set()
    for kind in kinds:
        copied.register_buffer("held", torch.zeros(10, dtype=kind))
        signatures.add(sign(copied))
    assert len(signatures) == len(kinds)


def test_operations_matter(copied: Donut, teacher: Donut, sign: Sign) -> None:
    copied.decoder.model.decoder.layers[0].fc1.__class__ = Twice
    assert sign(copied) != sign(teacher)


def test_masks_that_are_multiplied_in_at_each_step_are_work(copied: Donut, teacher: Donut, sign: Sign) -> None:
    layer = copied.decoder.model.decoder.layers[0].fc1
    mask = torch.ones_like(layer.weight)

    def multiply(module: nn.Module, args: object) -> None:
        layer.weight.data.mul_(mask)

    layer.register_forward_pre_hook(multiply)
    assert sign(copied) != sign(teacher)


def test_the_reader_matters(copied: Donut, teacher: Donut, sign: Sign) -> None:
    copied.decoder.__class__ = OtherDecoder
    assert sign(copied) != sign(teacher)


def test_memory_that_is_never_read_matters(copied: Donut, teacher: Donut, sign: Sign) -> None:
    untied = deepcopy(copied)
    untied.decoder.lm_head.weight = nn.Parameter(untied.decoder.lm_head.weight.detach().clone())
    copied.register_buffer("unused", torch.zeros(10))
    assert len({sign(model) for model in (teacher, untied, copied)}) == 3


def test_the_page_and_the_number_of_tokens_matter(teacher: Donut, subject: Callable[[Donut], Subject]) -> None:
    given = subject(teacher)
    pages = [given.page, given.page.unsqueeze(-1).repeat(1, 1, 1, 3), given.page.repeat(1, 2, 2)]
    readings = [(page, 11) for page in pages] + [(given.page, 10)]
    assert len({signature(teacher, given.processor, page, tokens) for page, tokens in readings}) == 4
