"""The paper's own size on a CPU: reading, writing and a training step of each objective within 20 GiB.

Minutes, and most of a machine's memory: `make test-large` runs it.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import DonutProcessor

from benchmark import CrossEntropy, FeatureDistillation, FixedMask, LogitDistillation, Strategy, reference
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.greedy import greedy
from benchmark.models.packed import dense_bytes, packed_bytes, packed_state
from benchmark.models.parameters import prunable
from benchmark.models.processor import build_processor, to_pixels
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.scales import PAPER
from benchmark.sizing.references import VOCABULARY
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.mechanics import Mechanics
from benchmark.types import Dataset, Objective

pytestmark = pytest.mark.large
MOST = 20 * 2**30
ONE_STEP = replace(PAPER.quick, batch=1, evaluations=1, save_steps=0)


@pytest.fixture(autouse=True)
def _within_20_gib() -> Iterator[None]:
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak so far {peak / 2**30:.1f} GiB")
    assert peak < MOST


@pytest.fixture(scope="module")
def processor(datasets: dict[str, Dataset]) -> DonutProcessor:
    return build_processor(PAPER, [dataset for dataset in datasets.values() if dataset.embedded])


@pytest.fixture(scope="module")
def pages(datasets: dict[str, Dataset], processor: DonutProcessor) -> EncodedDocuments:
    return encode_documents(datasets["receipts-mini"].open(PAPER, "test", 0, 1), processor, PAPER.max_tokens)


@pytest.fixture(scope="module")
def teacher() -> Donut:
    model = build(PAPER, PAPER.teacher, VOCABULARY, seed=0)
    model.train(False)
    return model


def test_it_reads_and_writes(teacher: Donut, processor: DonutProcessor, pages: EncodedDocuments) -> None:
    assert pages.pages[:].shape == (1, 1280, 960)
    written = greedy(teacher, to_pixels(processor, pages.pages[:]), start=1, end=-1, longest=5)
    assert written.shape == (1, 4)
    assert int(written.max()) < VOCABULARY


def test_without_its_zeros_it_is_a_small_file_that_loads_exactly(teacher: Donut, tmp_path: Path) -> None:
    pruned = deepcopy(teacher)
    prune_globally(pruned, magnitudes(pruned), 0.74)
    state, weights = packed_state(pruned), prunable(pruned)
    dense = sum(weight.nbytes for weight in weights.values())
    packed = sum(state[name + kind].nbytes for name in weights for kind in (".values", ".mask"))
    print(
        f"packed {packed / dense:.3f} of what was pruned, {packed_bytes(pruned) / dense_bytes(pruned):.3f} of the file"
    )
    assert packed <= 0.30 * dense
    save_model(pruned, tmp_path / "packed", packed=True)
    assert fingerprint(load_model(tmp_path / "packed")) == fingerprint(pruned)


@pytest.mark.parametrize(
    "objective",
    [CrossEntropy(), LogitDistillation(), FeatureDistillation(temperature=2.0)],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.parametrize("name", ["pruned", "small"])
def test_it_learns(
    name: str,
    objective: Objective,
    teacher: Donut,
    processor: DonutProcessor,
    pages: EncodedDocuments,
    datasets: dict[str, Dataset],
    tmp_path: Path,
) -> None:
    student = build(PAPER, PAPER.small if name == "small" else PAPER.teacher, VOCABULARY, seed=1)
    if name == "pruned":
        prune_globally(student, magnitudes(student), 0.738)
    before = {name: weight.detach().clone() for name, weight in prunable(student).items()}
    strategy = Strategy("mine", "", reference("small"), objective, FixedMask() if name == "pruned" else None)
    data = TrainingData(
        datasets["receipts-mini"], processor, pages, pages, teacher, ONE_STEP, 1, Mechanics(checkpointing=True)
    )
    _, curve = train_strategy(student, strategy, data, 3e-5, lambda model: 0.0, 0, name, tmp_path / "work")
    assert curve == [(1, 0.0)]
    moved = {name: bool((weight != before[name]).any()) for name, weight in prunable(student).items()}
    assert all(moved.values())
    assert all(torch.isfinite(weight).all() for weight in student.parameters())
