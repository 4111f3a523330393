"""All measures of a model together."""

from __future__ import annotations

import pytest
import torch
from transformers import DonutProcessor

from benchmark.measure import measure
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import prompt_of
from benchmark.records.record import Efficiency
from benchmark.types import Dataset

LONGEST = 12


@pytest.fixture(scope="module")
def measured(
    teacher: Donut, pruned: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset
) -> tuple[Efficiency, Efficiency]:
    prompt = prompt_of(dataset)
    dense, sparse = (measure(m, processor, pages, prompt, LONGEST, repeats=2) for m in (teacher, pruned))
    return dense, sparse


def test_a_pruned_model_is_as_large_and_as_much_work_but_packs_small(
    measured: tuple[Efficiency, Efficiency],
) -> None:
    dense, sparse = measured
    same = ("params_total", "params_embedding", "params_nonembedding", "macs", "size_dense_bytes")
    assert [getattr(sparse, name) for name in same] == [getattr(dense, name) for name in same]
    assert sparse.density == sparse.params_nonzero / sparse.params_nonembedding < 0.3 * dense.density
    assert sparse.size_packed_bytes < 0.35 * dense.size_packed_bytes
    assert sparse.peak_memory_bytes == dense.peak_memory_bytes


def test_everything_is_measured(measured: tuple[Efficiency, Efficiency]) -> None:
    for efficiency in measured:
        assert None not in efficiency.model_dump().values()
        assert efficiency.peak_memory_bytes is not None
        assert efficiency.peak_memory_bytes > 4 * efficiency.params_total


def test_the_model_is_left_as_it_was(
    teacher: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset
) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    random = torch.get_rng_state()
    was_training = teacher.training
    teacher.train()
    try:
        measure(teacher, processor, pages, prompt_of(dataset), LONGEST, repeats=1)
        assert all(module.training for module in teacher.modules())
    finally:
        teacher.train(was_training)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
