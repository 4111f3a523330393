"""Documents as tensors: rendered once, kept as bytes, the same for every row of the tables."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.processor import encode, fit_page, to_text
from benchmark.page import to_page
from benchmark.truth import Losses, check_keys, plain
from benchmark.types import Document, Json


@dataclass(frozen=True, slots=True)
class EncodedDocuments:
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

    def head(self, count: int) -> EncodedDocuments:
        return EncodedDocuments(
            self.ids[:count],
            self.pages[:count],
            self.labels[:count],
            self.points[:count],
            self.ground_truths[:count],
        )


def encode_documents(
    documents: Sequence[Document], processor: DonutProcessor, longest: int, jobs: int = 1, where: str = ""
) -> EncodedDocuments:
    """Render or read all documents.

    Raises `UserError` if there are none, a page is none, or a ground truth is no JSON or has keys that tags cannot
    carry; `where`, the data set and split, is named then.
    """
    if not len(documents):
        raise UserError("this split holds no documents")
    loaded = _fetch(_Plain(documents, where), jobs)
    spellings: dict[str, str] = {}
    for document in loaded:
        check_keys(document.ground_truth, _place(document, where), spellings)
    sizes = [fit_page(processor, to_page(document.page, _place(document, where))) for document in loaded]
    if len({page.ndim for page in sizes}) > 1:
        sizes = [np.repeat(page[:, :, None], 3, axis=2) if page.ndim == 2 else page for page in sizes]
    labels = encode(processor, [to_text(document.ground_truth) for document in loaded], longest)
    return EncodedDocuments(
        tuple(document.id for document in loaded),
        torch.from_numpy(np.stack(sizes)),
        labels,
        _points(loaded, labels, processor),
        tuple(document.ground_truth for document in loaded),
    )


def losses(pages: EncodedDocuments, processor: DonutProcessor, longest: int) -> Losses:
    """What the labels lose for a model that writes, with its prompt and end, at most `longest` tokens."""
    labels = pages.labels[:, :longest]
    known = (labels != -100) & (labels != processor.tokenizer.eos_token_id)
    cut = known.sum(1) > longest - 1
    unknown = processor.tokenizer.unk_token_id
    return Losses(len(pages), int(cut.sum()), 0 if unknown is None else int((labels == unknown).sum()), longest)


@dataclass(frozen=True, slots=True)
class _Plain:
    """The documents with ground truths of plain JSON. Checked where they are read: a generator leaves no process."""

    documents: Sequence[Document]
    where: str

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, index: int) -> Document:
        document = self.documents[index]
        return replace(document, ground_truth=plain(document.ground_truth, _place(document, self.where)))


def _place(document: Document, where: str) -> str:
    return ", ".join(part for part in (where, document.source or f"document {document.id}") if part)


def _fetch(documents: _Plain, jobs: int) -> list[Document]:
    if jobs == 1:
        return [documents[i] for i in range(len(documents))]
    # Forked, so that a plugin's functions need not be picklable.
    edges = np.linspace(0, len(documents), 8 * jobs + 1).astype(int)
    global _shared
    _shared = documents
    # Ctrl-C is for the parent, which ends them.
    quiet = signal.signal, (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("fork").Pool(jobs, *quiet) as pool:
        parts = pool.map(_part, list(pairwise(edges)), chunksize=1)
    return [document for part in parts for document in part]


_shared: _Plain | None = None


def _part(edges: tuple[int, int]) -> list[Document]:
    assert _shared is not None
    return [_shared[i] for i in range(*edges)]


def _points(documents: Sequence[Document], labels: torch.Tensor, processor: DonutProcessor) -> torch.Tensor:
    """Glyphs and the tokens of printed characters come in the same order: match them one to one.

    Tokens of several characters have no one place; a vocabulary that has them gets none.
    """
    added = processor.tokenizer.get_added_vocab()
    written = {i: token for token, i in processor.tokenizer.get_vocab().items() if token not in added}
    points = np.full((*labels.shape, 2), -1, np.float32)
    if any(len(token) > 1 for token in written.values()):
        return torch.from_numpy(points)
    printed = {i: token for i, token in written.items() if token != " "}
    for row, document in enumerate(documents):
        glyphs = iter(document.glyphs)
        for column, token in enumerate(labels[row].tolist()):
            if token in printed and (glyph := next(glyphs, None)) is not None:
                if glyph.character != printed[token]:
                    raise UserError(f"document {document.id}: its glyphs do not follow its ground truth")
                points[row, column] = glyph.x, glyph.y
    return torch.from_numpy(points)
