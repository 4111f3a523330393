"""Models that have all that can be cut: projection and adapter between encoder and decoder, blocks in pairs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from benchmark.models.donut import Donut, build
from benchmark.scales import TINY, Architecture
from benchmark.types import Calibration

VOCABULARY = 60
TEACHER = replace(TINY.teacher, depths=(2, 4), bottleneck=8)
PROJECTED = replace(TEACHER, decoder_width=48, decoder_heads=2)


def made(architecture: Architecture) -> Donut:
    """An untrained model in which no weight is zero, and what it reads decides what it writes."""
    model = build(TINY, architecture, VOCABULARY, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    model.train(False)
    return model


@pytest.fixture(scope="session")
def _made() -> dict[str, Donut]:
    return {"plain": made(TEACHER), "projected": made(PROJECTED)}


@pytest.fixture(params=["plain", "projected"])
def model(request: pytest.FixtureRequest, _made: dict[str, Donut]) -> Donut:
    """The test's own."""
    return deepcopy(_made[str(request.param)])


@pytest.fixture
def plain(_made: dict[str, Donut]) -> Donut:
    return deepcopy(_made["plain"])


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    """Three pages with what is written on them, of different lengths."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(5, VOCABULARY, (3, 9), generator=generator)
    labels = tokens.clone()
    labels[1, 6:] = -100
    inputs = torch.cat([torch.full((3, 1), 5), tokens[:, :-1]], 1)
    return Calibration(torch.randn(3, 3, TINY.height, TINY.width, generator=generator), inputs, labels)


def logits(model: Donut, calibration: Calibration) -> torch.Tensor:
    output = model(pixel_values=calibration.pixel_values, decoder_input_ids=calibration.decoder_input_ids)
    found: torch.Tensor = output.logits
    return found
