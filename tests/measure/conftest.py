"""Untrained models of the tiny scale, a pruned copy, and a few pages."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from transformers import DonutProcessor

from benchmark.measure import Subject
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.parameters import prunable
from benchmark.models.processor import build_processor, prompt_of
from benchmark.scales import TINY
from benchmark.types import Dataset
from donutbench_datasets import receipts_mini

SPARSITY = 0.74
LONGEST = 12


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    (only,) = receipts_mini.donutbench_register_datasets()
    return only


@pytest.fixture(scope="session")
def processor(dataset: Dataset) -> DonutProcessor:
    return build_processor(TINY, [dataset])


@pytest.fixture(scope="session")
def pages(dataset: Dataset, processor: DonutProcessor) -> EncodedDocuments:
    return encode_documents(dataset.open(TINY, "test", 0, 3), processor, TINY.max_tokens)


@pytest.fixture(scope="session")
def teacher(processor: DonutProcessor) -> Donut:
    return build(TINY, TINY.teacher, len(processor.tokenizer), seed=0)


@pytest.fixture(scope="session")
def pruned(teacher: Donut) -> Donut:
    """The teacher without 74 % of each prunable tensor."""
    model = deepcopy(teacher)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in prunable(model).values():
            gone = torch.randperm(weight.numel(), generator=generator)[: round(SPARSITY * weight.numel())]
            weight.view(-1)[gone] = 0
    return model


@pytest.fixture(scope="session")
def small(processor: DonutProcessor) -> Donut:
    return build(TINY, TINY.small, len(processor.tokenizer), seed=0)


@pytest.fixture(scope="session")
def subject(processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset) -> Callable[[Donut], Subject]:
    """A model about to read the first page."""
    return lambda model: Subject(model, processor, pages.pages[:1], prompt_of(dataset), LONGEST)
