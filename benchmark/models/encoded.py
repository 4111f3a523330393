"""Documents as tensors: rendered once and kept as bytes where they fit, the same for every row of the tables."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.pages import LazyPages, Pages, stacked
from benchmark.models.processor import categories_of, encode, fit_page
from benchmark.plugin.documents import Opened, opened
from benchmark.truth import Losses, check_keys, to_text
from benchmark.types import Document, Json, Page

LARGEST_IN_MEMORY = 2**31
"""Bytes of the pages of one split that are kept; more are read when they are asked for."""


@dataclass(frozen=True, slots=True)
class EncodedDocuments:
    """Documents of one split.

    `pages` is uint8 (documents, height, width) or (..., 3); `labels` (documents, tokens), -100 beyond the end;
    `points` (documents, tokens, 2) the x and y of the character that each token prints, in pixels, -1 where unknown; of
    no token, (documents, 0, 2), where nobody has asked for them.
    `alternatives` are further ground truths of each document, if any document has some.
    """

    ids: tuple[str, ...]
    pages: Pages
    labels: torch.Tensor
    points: torch.Tensor
    ground_truths: tuple[Json, ...]
    alternatives: tuple[tuple[Json, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, count: int) -> EncodedDocuments:
        return EncodedDocuments(
            self.ids[:count],
            self.pages[:count],
            self.labels[:count],
            self.points[:count],
            self.ground_truths[:count],
            self.alternatives[:count],
        )

    @property
    def accepted(self) -> list[tuple[Json, ...]]:
        """The ground truths that a prediction may agree with, of each document: first that of the labels."""
        others = self.alternatives or ((),) * len(self)
        return [(truth, *more) for truth, more in zip(self.ground_truths, others, strict=True)]


def encode_documents(
    documents: Sequence[Document], processor: DonutProcessor, longest: int, jobs: int = 1, points: bool = False
) -> EncodedDocuments:
    """Render or read all documents. Of pages that are larger than `LARGEST_IN_MEMORY` together none is kept.

    `points` are for the losses of `benchmark.pretraining` alone. Raises `UserError` if there are no documents, for one
    that is not what it has to be (`benchmark.plugin.documents`), for keys that tags cannot carry, and for two of one id
    where they have to be distinct; with `points` also for glyphs that are not the characters of the ground truth.
    """
    checked = opened(documents)
    kept: list[Document] = []
    pages: list[Page] = []
    spellings: dict[str, str] = {}
    ids: set[str] = set()
    fit = partial(_fitted, processor=processor)
    lazy, colour = False, False
    for document in _fetch(checked, jobs):
        check_keys(document.ground_truth, checked.place(document), spellings)
        if checked.distinct and document.id in ids:
            raise UserError(f"{checked.place(document)}: another document has the id {document.id!r:.60} too")
        ids.add(document.id)
        page = fit(document)  # also if it is not kept: what cannot be read is refused before anything is trained
        lazy = lazy or (not kept and page.nbytes * len(documents) > LARGEST_IN_MEMORY)
        colour = colour or page.ndim == 3
        kept.append(replace(document, page=_NOTHING))
        if not lazy:
            pages.append(page)
    categories = categories_of(processor)
    labels = encode(processor, [to_text(document.ground_truth, categories) for document in kept], longest)
    alternatives = tuple(document.alternatives for document in kept)
    return EncodedDocuments(
        tuple(document.id for document in kept),
        LazyPages(checked, fit, colour) if lazy else stacked(pages, colour),
        labels,
        _points(kept, labels, processor) if points else torch.empty(len(kept), 0, 2),
        tuple(document.ground_truth for document in kept),
        alternatives if any(alternatives) else (),
    )


_NOTHING = np.empty((0, 0), np.uint8)
"""In place of a page that is fitted already: what was scanned may be many times as large."""


def _fitted(document: Document, processor: DonutProcessor) -> Page:
    return fit_page(processor, document.page)


def losses(pages: EncodedDocuments, processor: DonutProcessor, longest: int) -> Losses:
    """What the labels lose for a model that writes, with its prompt and end, at most `longest` tokens."""
    labels = pages.labels[:, :longest]
    known = (labels != -100) & (labels != processor.tokenizer.eos_token_id)
    cut = known.sum(1) > longest - 1
    unknown = processor.tokenizer.unk_token_id
    return Losses(len(pages), int(cut.sum()), 0 if unknown is None else int((labels == unknown).sum()), longest)


def _fetch(documents: Opened, jobs: int) -> Iterator[Document]:
    if jobs == 1:
        yield from (documents[i] for i in range(len(documents)))
        return
    # Forked, so that a plugin's functions need not be picklable.
    edges = np.linspace(0, len(documents), 8 * jobs + 1).astype(int)
    global _shared
    _shared = documents
    # Ctrl-C is for the parent, which ends them.
    quiet = signal.signal, (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("fork").Pool(jobs, *quiet) as pool:
        for part in pool.imap(_part, list(pairwise(edges))):
            yield from part


_shared: Opened | None = None


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
