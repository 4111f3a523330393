"""The shipped teacher of receipts as a strategy sees it, with real documents to look at."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import pytest
from transformers import DonutProcessor

from benchmark.models.checkpoint import load_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.processor import decoder_inputs, fixed_tokens, prompt_of, to_pixels
from benchmark.scales import TINY
from benchmark.types import Calibration, Dataset
from benchmark.zoo.store import Zoo, open_zoo

DOCUMENTS = 24


@pytest.fixture(autouse=True, scope="package")
def _frozen() -> Iterator[None]:
    """`Trainer` collects garbage before it trains, which takes longer than 3 steps: not of what has been imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass(frozen=True)
class OfReceipts:
    """`References` with the shipped models and the first documents of the training split.

    The teacher is read once, the others when they are asked for.
    """

    teacher: Donut
    documents: Calibration
    zoo: Zoo
    fixed: frozenset[int]
    """The tokens that the data set needs whatever its documents say."""

    def load(self, name: str) -> Donut:
        if name == "teacher":
            return deepcopy(self.teacher)
        return fit_vocabulary(self.zoo.load(name), self.teacher.decoder.config.vocab_size)

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        places = [(draw * count + i) % DOCUMENTS for i in range(count)]
        whole = self.documents
        return Calibration(whole.pixel_values[places], whole.decoder_input_ids[places], whole.labels[places])

    def tokens(self, count: int) -> frozenset[int]:
        labels = self.documents.labels[:count]
        return self.fixed | frozenset(labels[labels != -100].tolist())


@pytest.fixture(scope="session")
def receipts(datasets: dict[str, Dataset], processor: DonutProcessor) -> EncodedDocuments:
    """Training documents."""
    return encode_documents(datasets["receipts-mini"].open(TINY, "train", 0, DOCUMENTS), processor, TINY.max_tokens)


@pytest.fixture(scope="session")
def references(datasets: dict[str, Dataset], processor: DonutProcessor, receipts: EncodedDocuments) -> OfReceipts:
    zoo = open_zoo(TINY)
    folder = zoo.task_teacher(datasets["receipts-mini"])
    assert folder is not None
    teacher = fit_vocabulary(load_model(folder), len(processor.tokenizer))
    prompt = int(processor.tokenizer.convert_tokens_to_ids(prompt_of(datasets["receipts-mini"])))
    inputs = decoder_inputs(receipts.labels, prompt, processor.tokenizer.pad_token_id)
    documents = Calibration(to_pixels(processor, receipts.pages[:]), inputs, receipts.labels)
    return OfReceipts(teacher, documents, zoo, frozenset(fixed_tokens(processor, datasets["receipts-mini"])))
