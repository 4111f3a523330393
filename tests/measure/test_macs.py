"""Multiply-accumulates of the tiny teacher, against a count by hand."""

from __future__ import annotations

import logging

import pytest
import torch
from transformers.utils import logging as transformers_logging

from benchmark.models.donut import Donut
from benchmark.models.macs import Macs, count_macs
from benchmark.scales import TINY

PIXELS = torch.zeros(1, 3, TINY.height, TINY.width)
PROMPT = 5


def encoder_by_hand() -> int:
    cells, width = TINY.height // TINY.patch * (TINY.width // TINY.patch), TINY.teacher.embed_dim
    total = cells * width * 3 * TINY.patch**2
    for stage, depth in enumerate(TINY.teacher.depths):
        if stage:
            # Patch merging: the four cells of a square become one of twice the width.
            cells //= 4
            total += cells * 4 * width * 2 * width
            width *= 2
        linear = 4 * width**2 + 2 * width * 4 * width
        attention = 2 * TINY.window**2 * width
        total += depth * cells * (linear + attention)
    return total


def decoder_by_hand(tokens: int, vocabulary: int) -> int:
    sizes, (rows, columns) = TINY.teacher, TINY.grid
    width, memory = sizes.decoder_width, rows * columns
    linear = tokens * (6 * width**2 + 2 * width * sizes.decoder_ffn) + memory * 2 * width**2
    attention = 2 * width * (sum(range(1, tokens + 1)) + tokens * memory)
    return sizes.decoder_layers * (linear + attention) + tokens * width * vocabulary


@pytest.mark.parametrize("tokens", [1, 2, 32])
def test_macs_are_those_counted_by_hand(teacher: Donut, tokens: int) -> None:
    by_hand = Macs(encoder_by_hand(), decoder_by_hand(tokens, teacher.decoder.lm_head.weight.shape[0]))
    assert count_macs(teacher, PIXELS, PROMPT, tokens) == by_hand


def test_zeros_are_multiplied(teacher: Donut, pruned: Donut) -> None:
    assert count_macs(pruned, PIXELS, PROMPT, 8) == count_macs(teacher, PIXELS, PROMPT, 8)


def test_nothing_that_is_deprecated_is_asked_for(teacher: Donut, caplog: pytest.LogCaptureFixture) -> None:
    logger = transformers_logging.get_logger("transformers")
    transformers_logging.warning_once.cache_clear()  # or it may have been told already
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING, logger="transformers"):
            count_macs(teacher, PIXELS, PROMPT, 8)
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records
