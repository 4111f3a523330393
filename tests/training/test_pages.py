"""Documents as tensors: ground truths that are plain, and what the labels lose of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.encoded import encode_documents, losses
from benchmark.models.processor import build_processor
from benchmark.plugin.documents import opened
from benchmark.scales import TINY
from benchmark.truth import Losses
from benchmark.types import Dataset, Document

PAGE = np.zeros((TINY.height, TINY.width), np.uint8)


def bills(*truths: Any) -> list[Document]:
    return [Document(f"bill-{number}", PAGE, truth) for number, truth in enumerate(truths)]


@pytest.fixture
def reader() -> DonutProcessor:
    """A processor that knows the keys of bills, and no letter beyond ASCII."""
    dataset = Dataset("bills", "bills", "extraction", ("company", "total"), lambda scale, split, seed, count: [])
    return build_processor(TINY, [dataset])


class TestTruths:
    def test_numpy_and_tuples_are_what_they_hold(self, reader: DonutProcessor) -> None:
        pages = encode_documents(bills({"company": ("A", "B"), "total": np.float32(12.3)}), reader, TINY.max_tokens)
        assert pages.ground_truths == ({"company": ["A", "B"], "total": 12.3},)
        same = encode_documents(bills({"company": ["A", "B"], "total": 12.3}), reader, TINY.max_tokens)
        assert pages.labels.tolist() == same.labels.tolist()

    @pytest.mark.parametrize("jobs", [1, 2])
    @pytest.mark.parametrize("bad", [lambda: {"total": (n for n in "12")}, lambda: {"total": {1}}, lambda: {"a>b": 1}])
    def test_a_bad_one_is_refused_by_document(self, bad: Callable[[], Any], jobs: int, reader: DonutProcessor) -> None:
        documents = opened(bills({"total": "1"}, bad()), "data set bills, test")
        with pytest.raises(UserError) as caught:
            encode_documents(documents, reader, TINY.max_tokens, jobs)
        assert str(caught.value).startswith("data set bills, test, document bill-1: ")

    def test_where_it_stands_is_said_in_place_of_the_id(self, reader: DonutProcessor) -> None:
        documents = [replace(document, source="metadata.jsonl, line 3") for document in bills({"a>b": "1"})]
        with pytest.raises(UserError, match=r"^metadata\.jsonl, line 3: a tag cannot carry the key 'a>b'"):
            encode_documents(documents, reader, TINY.max_tokens)

    def test_two_spellings_in_two_documents_are_refused(self, reader: DonutProcessor) -> None:
        with pytest.raises(UserError, match="document bill-1: the keys 'total' and 'Total' differ in case alone"):
            encode_documents(bills({"total": "1"}, {"Total": "1"}), reader, TINY.max_tokens)


class TestLosses:
    def lost(self, reader: DonutProcessor, truths: Sequence[Any], longest: int = TINY.max_tokens) -> Losses:
        return losses(encode_documents(bills(*truths), reader, longest), reader, longest)

    def test_unknown_characters_are_counted(self, reader: DonutProcessor) -> None:
        truths = [{"company": "Привет"}, {"company": "12 Main St\nSpringfield"}, {"company": "Ltd"}]
        assert self.lost(reader, truths) == Losses(3, 0, 6 + 1, TINY.max_tokens)

    @pytest.mark.parametrize(("length", "truncated"), [(17, 0), (18, 1), (19, 1), (400, 1)])
    def test_a_document_is_cut_if_it_is_longer_than_what_is_written(
        self, length: int, truncated: int, reader: DonutProcessor
    ) -> None:
        """Prompt, two tags and 17 letters are 20 tokens."""
        lost = self.lost(reader, [{"total": "1" * length}, {"total": "1"}], longest=20)
        assert lost == Losses(2, truncated, 0, 20)

    def test_the_first_documents_lose_their_own_share(self, reader: DonutProcessor) -> None:
        pages = encode_documents(bills({"total": "1"}, {"total": "й" * 400}), reader, 20)
        assert losses(pages.head(1), reader, 20) == Losses(1, 0, 0, 20)
        assert losses(pages, reader, 20) == Losses(2, 1, 19, 20)

    @pytest.mark.parametrize("name", ["synthdog-mini", "receipts-mini", "parcels-mini"])
    def test_embedded_data_lose_nothing(
        self, name: str, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        pages = encode_documents(datasets[name].open(TINY, "train", 0, 100), processor, TINY.max_tokens)
        assert losses(pages, processor, TINY.max_tokens) == Losses(100, 0, 0, TINY.max_tokens)
