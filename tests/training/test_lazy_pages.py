"""Pages that are read when they are asked for: the same bytes, batches, answers and refusals as in memory."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
import pytest
import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models import encoded
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.pages import LazyPages
from benchmark.plugin.documents import opened
from benchmark.scales import TINY
from benchmark.scoring.predict import decode
from benchmark.scoring.representations import represent
from benchmark.training.compress import TrainingData
from benchmark.training.trainer import Documents
from benchmark.types import Dataset, Document

COUNT = 6
PAGE_BYTES = TINY.height * TINY.width


@pytest.fixture
def documents(datasets: dict[str, Dataset]) -> Sequence[Document]:
    return datasets["receipts-mini"].open(TINY, "test", 0, COUNT)


@pytest.fixture
def lazy(documents: Sequence[Document], processor: DonutProcessor, monkeypatch: pytest.MonkeyPatch) -> EncodedDocuments:
    """The six receipts of `pages`, of which none may be kept."""
    monkeypatch.setattr(encoded, "LARGEST_IN_MEMORY", COUNT * PAGE_BYTES - 1)
    found = encode_documents(documents, processor, TINY.max_tokens, points=True)
    assert isinstance(found.pages, LazyPages)
    return found


def test_what_fits_is_kept(
    documents: Sequence[Document], processor: DonutProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "LARGEST_IN_MEMORY", COUNT * PAGE_BYTES)
    assert isinstance(encode_documents(documents, processor, TINY.max_tokens).pages, torch.Tensor)


def test_everything_but_the_pages_is_in_memory(lazy: EncodedDocuments, pages: EncodedDocuments) -> None:
    assert (lazy.ids, lazy.ground_truths) == (pages.ids, pages.ground_truths)
    assert torch.equal(lazy.labels, pages.labels)
    assert torch.equal(lazy.points, pages.points)


def test_they_are_taken_as_those_of_a_tensor(lazy: EncodedDocuments, pages: EncodedDocuments) -> None:
    whole = pages.pages[:]
    assert len(lazy.pages) == COUNT
    assert lazy.pages[:].dtype == torch.uint8
    for part in (slice(None), slice(1, 4), slice(4, 99), slice(None, 1), slice(None, None, 2), torch.tensor([5, 0, 5])):
        assert torch.equal(lazy.pages[part], whole[part])
    for size in (1, 4, 6, 50):
        for ours, theirs in zip(lazy.pages.split(size), pages.pages.split(size), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(lazy.head(2).pages[:], whole[:2])


def test_training_gets_the_same_batches(lazy: EncodedDocuments, pages: EncodedDocuments) -> None:
    ours, theirs = Documents(lazy), Documents(pages)
    for rows in ([0, 1, 2], [5], [3, 3, 0]):
        batches = [documents.collate([documents[row] for row in rows]) for documents in (ours, theirs)]
        assert batches[0].keys() == batches[1].keys()
        assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


def test_a_model_says_the_same_of_them(
    lazy: EncodedDocuments,
    pages: EncodedDocuments,
    model: Donut,
    processor: DonutProcessor,
    datasets: dict[str, Dataset],
) -> None:
    prompt = "<s_receipts-mini>"
    texts = [decode(model, processor, found.pages, prompt, 12, batch=4) for found in (lazy, pages)]
    assert texts[0] == texts[1]
    start = processor.tokenizer.convert_tokens_to_ids(prompt)
    looks = [represent(model, processor, found, start, batch=4).layers for found in (lazy, pages)]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(*looks, strict=True))
    taught = [
        TrainingData(datasets["receipts-mini"], processor, found, found, model, TINY.quick, documents=COUNT).taught(
            "logits"
        )
        for found in (lazy, pages)
    ]
    assert taught[0] is not None
    assert taught[1] is not None
    assert torch.equal(taught[0].logits, taught[1].logits)


def test_grey_pages_among_coloured_ones_are_in_colour(
    documents: Sequence[Document], processor: DonutProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey, other = documents[0], documents[1]
    mixed = [grey, replace(other, page=np.repeat(other.page[:, :, None], 3, axis=2))]
    whole = encode_documents(mixed, processor, TINY.max_tokens)
    monkeypatch.setattr(encoded, "LARGEST_IN_MEMORY", 0)
    found = encode_documents(mixed, processor, TINY.max_tokens)
    assert isinstance(found.pages, LazyPages)
    assert torch.equal(found.pages[:], whole.pages[:])
    assert found.pages[:1].shape == (1, TINY.height, TINY.width, 3)


def test_what_is_no_page_is_refused_before_it_is_asked_for(
    documents: Sequence[Document], processor: DonutProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "LARGEST_IN_MEMORY", 0)
    broken = replace(documents[1], page=np.zeros((0, 0), np.uint8))
    with pytest.raises(UserError, match=f"data set bills, train, document {broken.id}: a page is"):
        encode_documents(opened([documents[0], broken], "data set bills, train"), processor, TINY.max_tokens)


class Scans(Sequence[Document]):
    """Scans larger than a page; `most` of them were held by anyone at a time."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._given: list[weakref.ref[Any]] = []
        self.most = 0

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        assert isinstance(index, int)
        self.most = max(self.most, self.held)
        page = np.full((400, 400, 3), index, np.uint8)
        self._given.append(weakref.ref(page))
        return replace(self._documents[index], page=page)

    @property
    def held(self) -> int:
        return sum(given() is not None for given in self._given)


def test_no_scan_is_held_beside_its_fitted_page(documents: Sequence[Document], processor: DonutProcessor) -> None:
    scans = Scans(documents)
    encode_documents(scans, processor, TINY.max_tokens)
    assert scans.most == 1
    assert scans.held == 0
