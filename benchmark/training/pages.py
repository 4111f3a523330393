"""Documents as tensors: rendered once, kept as bytes, the same for every row of the tables."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.processor import encode, fit_page, to_text
from benchmark.page import to_page
from benchmark.types import Document, Json


@dataclass(frozen=True, slots=True)
class Pages:
    """Documents of one split.

    `pages` is uint8 (documents, height, width) or (..., 3); `labels` (documents, tokens), -100 beyond the end;
    `points` (documents, tokens, 2) the x and y of the character that each token prints, in pixels, -1 where unknown.
    """

    ids: tuple[str, ...]
    pages: torch.Tensor
    labels: torch.Tensor
    points: torch.Tensor
    ground_truths: tuple[Json, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, count: int) -> Pages:
        return Pages(
            self.ids[:count],
            self.pages[:count],
            self.labels[:count],
            self.points[:count],
            self.ground_truths[:count],
        )


def load_pages(documents: Sequence[Document], processor: DonutProcessor, longest: int, jobs: int = 1) -> Pages:
    """Render or read all documents. `UserError` if there are none, or names one whose page is none."""
    if not len(documents):
        raise UserError("this split holds no documents")
    loaded = _fetch(documents, jobs)
    sizes = [fit_page(processor, to_page(document.page, f"document {document.id}")) for document in loaded]
    if len({page.ndim for page in sizes}) > 1:
        sizes = [np.repeat(page[:, :, None], 3, axis=2) if page.ndim == 2 else page for page in sizes]
    labels = encode(processor, [to_text(document.ground_truth) for document in loaded], longest)
    return Pages(
        tuple(document.id for document in loaded),
        torch.from_numpy(np.stack(sizes)),
        labels,
        _points(loaded, labels, processor),
        tuple(document.ground_truth for document in loaded),
    )


def _fetch(documents: Sequence[Document], jobs: int) -> list[Document]:
    if jobs == 1:
        return [documents[i] for i in range(len(documents))]
    # Forked, so that a plugin's functions need not be picklable.
    edges = np.linspace(0, len(documents), 8 * jobs + 1).astype(int)
    global _shared
    _shared = documents
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        parts = pool.map(_part, list(pairwise(edges)), chunksize=1)
    return [document for part in parts for document in part]


_shared: Sequence[Document] = ()


def _part(edges: tuple[int, int]) -> list[Document]:
    return [_shared[i] for i in range(*edges)]


def _points(documents: Sequence[Document], labels: torch.Tensor, processor: DonutProcessor) -> torch.Tensor:
    """Glyphs and the tokens of printed characters come in the same order: match them one to one."""
    vocabulary = processor.tokenizer.get_vocab()
    printed = {i: token for token, i in vocabulary.items() if len(token) == 1 and token != " "}
    points = np.full((*labels.shape, 2), -1, np.float32)
    for row, document in enumerate(documents):
        glyphs = iter(document.glyphs)
        for column, token in enumerate(labels[row].tolist()):
            if token in printed and (glyph := next(glyphs, None)) is not None:
                if glyph.character != printed[token]:
                    raise UserError(f"document {document.id}: its glyphs do not follow its ground truth")
                points[row, column] = glyph.x, glyph.y
    return torch.from_numpy(points)
