"""Latencies: real readings, of the length that they should have."""

from __future__ import annotations

import time
from copy import deepcopy

import pytest
import torch
from transformers import DonutProcessor, MBartForCausalLM

from benchmark.measure.latency import measure_latency, read_fixed
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import prompt_of
from benchmark.scoring.predict import decode
from benchmark.types import Dataset


class OtherDecoder(MBartForCausalLM):
    """Reads as MBART does, but is not known to `models.greedy`."""


@pytest.fixture
def silent(teacher: Donut, processor: DonutProcessor) -> Donut:
    """A model that ends at once: whatever it sees, its last state is the end token's embedding."""
    model = deepcopy(teacher)
    norm = model.decoder.model.decoder.layer_norm
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(model.decoder.lm_head.weight[processor.tokenizer.eos_token_id])
    return model


def test_latencies_are_milliseconds(
    teacher: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset
) -> None:
    start = time.perf_counter()
    prompt = prompt_of(dataset)
    both = measure_latency(teacher, processor, pages.pages, prompt, longest=8, tokens=7, repeats=3)
    passed = 1000 * (time.perf_counter() - start)
    for latency in both:
        assert 0 < latency.p50 <= latency.p95
    # Half of the readings take the median or longer, the other half anything.
    assert passed / 100 < sum(2 * latency.p50 for latency in both) < passed


@pytest.mark.parametrize("decoder", [MBartForCausalLM, OtherDecoder])
def test_the_fixed_length_ignores_the_end_token(
    decoder: type, silent: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset
) -> None:
    silent.decoder.__class__ = decoder
    prompt = prompt_of(dataset)
    assert decode(silent, processor, pages.pages[:1], prompt, longest=8) == [""]
    written = read_fixed(silent, processor, pages.pages[:1], prompt, tokens=7)
    assert written.tolist() == [[processor.tokenizer.eos_token_id] * 7]
