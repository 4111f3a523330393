"""What a batch holds: whole labels, and everything that belongs to a document or a token beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.processor import decoder_inputs, encode
from benchmark.scales import TINY
from benchmark.training.trainer import Documents
from benchmark.truth import to_text
from benchmark.types import Dataset


@pytest.fixture
def uneven() -> EncodedDocuments:
    """Four documents of 3, 6, 1 and 5 tokens; everything says whose it is: document * 10 + token."""
    rows, tokens = torch.arange(4)[:, None], torch.arange(6)
    values = rows * 10 + tokens
    labels = torch.where(tokens < torch.tensor([3, 6, 1, 5])[:, None], values, -100)
    pages = rows[:, :, None].expand(-1, 2, 3).to(torch.uint8)
    return EncodedDocuments(
        ("a", "b", "c", "d"), pages, labels, torch.stack([values, -values], -1).float(), ("A", "B", "C", "D")
    )


class TestBatches:
    @pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 0], [2], [2, 0, 2]])
    def test_rows_stay_together_and_are_cut_to_the_longest(self, rows: list[int], uneven: EncodedDocuments) -> None:
        documents = Documents(uneven)
        batch = documents.collate([documents[row] for row in rows])
        longest = max((3, 6, 1, 5)[row] for row in rows)
        assert set(batch) == {"rows", "pages", "labels", "points"}
        assert batch["rows"].tolist() == rows
        for place, row in enumerate(rows):
            assert torch.equal(batch["pages"][place], uneven.pages[:][row])
            assert torch.equal(batch["labels"][place], uneven.labels[row, :longest])
            assert torch.equal(batch["points"][place], uneven.points[row, :longest])

    def test_no_token_of_a_receipt_is_cut(self, pages: EncodedDocuments) -> None:
        documents = Documents(pages)
        batch = documents.collate([documents[4], documents[1], documents[3]])
        for labels, row in zip(batch["labels"], (4, 1, 3), strict=True):
            whole = pages.labels[row][pages.labels[row] != -100]
            assert torch.equal(labels[labels != -100], whole)

    def test_an_item_is_as_long_as_its_labels(self, uneven: EncodedDocuments) -> None:
        documents = Documents(uneven)
        assert len(documents) == 4
        assert [len(documents[row]["input_ids"]) for row in range(4)] == [3, 6, 1, 5]

    def test_the_head_is_of_everything(self, uneven: EncodedDocuments) -> None:
        head = uneven.head(2)
        assert len(head) == 2
        assert (head.ids, head.ground_truths) == (("a", "b"), ("A", "B"))
        assert torch.equal(head.pages[:], uneven.pages[:2])
        assert torch.equal(head.labels, uneven.labels[:2])
        assert torch.equal(head.points, uneven.points[:2])


class TestLabels:
    def test_they_are_the_whole_ground_truth_and_the_end(
        self, pages: EncodedDocuments, processor: DonutProcessor
    ) -> None:
        for labels, truth in zip(pages.labels, pages.ground_truths, strict=True):
            tokens = labels[labels != -100]
            assert processor.tokenizer.decode(tokens) == f"{to_text(truth)}</s>"
            assert (labels[len(tokens) :] == -100).all()

    @pytest.mark.parametrize(("longest", "expected"), [(8, "abcdef</s>"), (7, "abcdef</s>"), (6, "abcdef"), (2, "ab")])
    def test_they_are_cut_at_the_longest_alone(self, longest: int, expected: str, processor: DonutProcessor) -> None:
        labels = encode(processor, ["abcdef", "a"], longest)
        assert labels.shape == (2, min(longest, 7))
        assert processor.tokenizer.decode(labels[0]) == expected
        assert processor.tokenizer.decode(labels[1, :2]) == "a</s>"
        assert (labels[1, 2:] == -100).all()

    def test_loading_cuts_them_at_the_longest_asked_for(
        self, pages: EncodedDocuments, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        documents = datasets["receipts-mini"].open(TINY, "test", 0, 2)
        whole = max(int((row != -100).sum()) for row in pages.labels[:2])
        for longest in (whole, whole - 1, 9):
            cut = encode_documents(documents, processor, longest, points=True)
            assert torch.equal(cut.labels, pages.labels[:2, :longest])
            assert torch.equal(cut.points, pages.points[:2, :longest])

    def test_the_decoder_sees_the_token_before(self) -> None:
        labels = torch.tensor([[5, 6, 7, 2], [8, 2, -100, -100]])
        assert decoder_inputs(labels, prompt=9, pad=1).tolist() == [[9, 5, 6, 7], [9, 8, 2, 1]]
        assert labels.tolist() == [[5, 6, 7, 2], [8, 2, -100, -100]]


class TestLoading:
    def test_every_document_is_read_in_order_by_however_many_processes(
        self, pages: EncodedDocuments, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        documents = datasets["receipts-mini"].open(TINY, "test", 0, 6)
        together = encode_documents(documents, processor, TINY.max_tokens, jobs=2, points=True)
        for loaded in (pages, together):
            assert loaded.ids == tuple(document.id for document in documents)
            assert loaded.ground_truths == tuple(document.ground_truth for document in documents)
            assert torch.equal(
                loaded.pages[:], torch.stack([torch.from_numpy(document.page) for document in documents])
            )
        assert torch.equal(together.labels, pages.labels)
        assert torch.equal(together.points, pages.points)

    def test_grey_pages_among_coloured_ones_are_grey_in_colour(
        self, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        grey, other = datasets["receipts-mini"].open(TINY, "test", 0, 2)
        colour = replace(other, page=other.page[:, :, None] // np.array([1, 2, 3], np.uint8))
        loaded = encode_documents([grey, colour], processor, TINY.max_tokens)
        assert loaded.pages[:].shape == (2, TINY.height, TINY.width, 3)
        for channel in range(3):
            assert torch.equal(loaded.pages[:][0, :, :, channel], torch.from_numpy(grey.page))
        assert torch.equal(loaded.pages[:][1], torch.from_numpy(colour.page))


class TestPoints:
    def test_only_printed_characters_have_one(self, datasets: dict[str, Dataset], processor: DonutProcessor) -> None:
        documents = datasets["receipts-mini"].open(TINY, "test", 0, 2)
        pages = encode_documents(documents, processor, TINY.max_tokens, points=True)
        assert pages.points.dtype == torch.float32
        for labels, points in zip(pages.labels, pages.points, strict=True):
            known = points[:, 0] >= 0
            tokens = [processor.tokenizer.decode(token) for token in labels[labels != -100]]
            assert known.tolist()[: len(tokens)] == [len(token) == 1 and token != " " for token in tokens]
            assert (points[~known] == -1).all()
            assert (points[known] % 1 != 0).any()

    def test_without_glyphs_there_are_none(self, datasets: dict[str, Dataset], processor: DonutProcessor) -> None:
        (document,) = datasets["receipts-mini"].open(TINY, "test", 0, 1)
        loaded = encode_documents([replace(document, glyphs=())], processor, TINY.max_tokens, points=True)
        assert (loaded.points == -1).all()

    def test_glyphs_of_another_text_are_told(self, datasets: dict[str, Dataset], processor: DonutProcessor) -> None:
        (document,) = datasets["receipts-mini"].open(TINY, "test", 0, 1)
        wrong = replace(document, glyphs=document.glyphs[1:])
        with pytest.raises(UserError, match=f"document {document.id}: its glyphs do not follow"):
            encode_documents([wrong], processor, TINY.max_tokens, points=True)

    def test_who_asks_for_none_may_have_any_glyphs(
        self, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        (document,) = datasets["receipts-mini"].open(TINY, "test", 0, 1)
        loaded = encode_documents([replace(document, glyphs=document.glyphs[1:])], processor, TINY.max_tokens)
        assert loaded.points.shape == (1, 0, 2)
        (batch,) = [Documents(loaded).collate([Documents(loaded)[0]])]
        assert batch["points"].shape == (1, 0, 2)

    def test_a_split_without_documents_is_told(self, processor: DonutProcessor) -> None:
        with pytest.raises(UserError, match="no documents"):
            encode_documents([], processor, TINY.max_tokens)
