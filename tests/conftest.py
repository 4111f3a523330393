"""What several test files share. Torch is loaded by the fixtures that need it: most tests do without."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmark.scales import TINY
from benchmark.types import Dataset

if TYPE_CHECKING:
    from transformers import DonutProcessor

    from benchmark.models.donut import Donut
    from benchmark.models.encoded import EncodedDocuments

# Of tests and the processes that they start, on any hardware: in bfloat16 a batch changes what its documents give.
os.environ.setdefault("DONUTBENCH_PRECISION", "float32")

EMBEDDED = ("synthdog_mini", "receipts_mini", "parcels_mini")


@pytest.fixture(scope="session")
def datasets() -> dict[str, Dataset]:
    """The embedded data sets by name."""
    found: dict[str, Dataset] = {}
    for module in EMBEDDED:
        (dataset,) = import_module(f"donutbench_datasets.{module}").donutbench_register_datasets()
        found[dataset.name] = dataset
    return found


@pytest.fixture(scope="session")
def processor(datasets: dict[str, Dataset]) -> DonutProcessor:
    from benchmark.models.processor import build_processor

    return build_processor(TINY, datasets.values())


@pytest.fixture(scope="session")
def pages(datasets: dict[str, Dataset], processor: DonutProcessor) -> EncodedDocuments:
    """Six receipts."""
    from benchmark.models.encoded import encode_documents

    return encode_documents(datasets["receipts-mini"].open(TINY, "test", 0, 6), processor, TINY.max_tokens, points=True)


@pytest.fixture(scope="session")
def _untrained(processor: DonutProcessor) -> Donut:
    import torch

    from benchmark.models.donut import build

    model = build(TINY, TINY.teacher, len(processor.tokenizer), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # biases begin as zeros, which are easily taken for pruned weights
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.02)
    model.train(False)
    return model


@pytest.fixture
def model(_untrained: Donut) -> Donut:
    """An untrained teacher of the tiny scale without a single zero, the test's own."""
    return deepcopy(_untrained)


@pytest.fixture(scope="session")
def checkpoint(processor: DonutProcessor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student of few words and its processor in a folder; not to be changed."""
    from benchmark.models.checkpoint import save_model
    from benchmark.models.donut import build

    folder = tmp_path_factory.mktemp("checkpoint") / "donut"
    save_model(build(replace(TINY, max_tokens=48), TINY.small, len(processor.tokenizer), seed=0), folder)
    processor.save_pretrained(str(folder))
    return folder


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond a number of bytes, as a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
