"""Multiply-accumulates by the shapes are those that are counted on forward passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmark.models.arithmetic import donut_macs
from benchmark.models.donut import build
from benchmark.models.macs import Macs, count_macs
from benchmark.models.shapes import sketched
from benchmark.scales import TINY, Architecture, Scale
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import cut
from benchmark.slicing.options import Kind

VOCABULARY = 60
DEEP = replace(TINY.teacher, depths=(2, 4), bottleneck=8)
PROJECTED = replace(DEEP, decoder_width=48, decoder_heads=2)
THREE_STAGES = replace(TINY.teacher, depths=(1, 2, 1), encoder_heads=(1, 2, 3))
KINDS: tuple[Kind, ...] = ("ffn", "heads", "width", "layers")


def both(scale: Scale, architecture: Architecture, tokens: int, kinds: tuple[Kind, ...] = ()) -> tuple[Macs, Macs]:
    """By the shapes and counted, after every other unit of these kinds has gone."""
    model = build(replace(scale, teacher=architecture), architecture, VOCABULARY, seed=0)
    for kind in kinds:
        cut(model, {group: list(range(0, group.count, 2)) for group in units_of(model, kind)})
    page = (scale.height, scale.width)
    return (
        donut_macs(sketched(model), page, tokens),
        count_macs(model, torch.zeros(1, 3, *page), prompt=5, tokens=tokens),
    )


@pytest.mark.parametrize("tokens", [1, 2, 64])
@pytest.mark.parametrize("architecture", [DEEP, PROJECTED, THREE_STAGES])
def test_they_are_the_same(architecture: Architecture, tokens: int) -> None:
    ours, counted = both(TINY, architecture, tokens)
    assert ours == counted


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS])
def test_they_are_of_what_is_left(kinds: tuple[Kind, ...]) -> None:
    ours, counted = both(TINY, PROJECTED, 8, kinds)
    assert ours == counted


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(96, 160, 5), (100, 156, 4), (60, 68, 7)],
    ids=["padded windows", "uneven grids", "both"],
)
def test_grids_that_no_window_fits_are_padded(height: int, width: int, window: int) -> None:
    scale = replace(TINY, height=height, width=width, window=window, bridge=False)
    ours, counted = both(scale, replace(DEEP, bottleneck=None), 4)
    assert ours == counted


def test_encoder_and_decoder_are_told_apart() -> None:
    model, page = build(TINY, DEEP, VOCABULARY, seed=0), (TINY.height, TINY.width)
    few, many = (donut_macs(model, page, tokens) for tokens in (1, 64))
    assert few.encoder == many.encoder
    assert few.decoder < many.decoder
