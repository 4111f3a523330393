"""Models whose table of tokens has rows for some of the vocabulary alone, and which those are.

Tokens keep their numbers, so that processor, labels and teacher stay as they are: the numbers of the kept ones, in
order, are data in the config (``kept_tokens``), and the model maps numbers to rows at its two ends. A token without a
row is read as padding, and its logit is minus infinity: it is never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import VisionEncoderDecoderModel
from transformers.models.mbart.modeling_mbart import MBartScaledWordEmbedding

from benchmark.models.shapes import record_shapes


class _Indexed(nn.Module):
    """A module with an index that goes where its weights go. A loader would not fill a buffer that no file has."""

    index: torch.Tensor

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.index = fn(self.index)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


class KeptEmbedding(_Indexed, MBartScaledWordEmbedding):
    """A table with a row for each kept token; `index` (vocabulary,) has the row that each token is read as."""

    def __init__(self, table: MBartScaledWordEmbedding, rows: torch.Tensor, index: torch.Tensor, padding: int) -> None:
        super().__init__(len(rows), table.embedding_dim, padding, table.embed_scale)
        self.weight = _rows_of(table.weight, rows)
        self.index = index

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Numbers of tokens among all of the vocabulary, of any shape -> (..., width)."""
        embedded: torch.Tensor = super().forward(self.index.to(input_ids.device)[input_ids])
        return embedded


class KeptHead(_Indexed, nn.Linear):
    """An output head with a row for each kept token; `index` (rows,) has their numbers among all of the vocabulary."""

    def __init__(self, head: nn.Linear, rows: torch.Tensor, index: torch.Tensor, vocabulary: int) -> None:
        super().__init__(head.in_features, len(rows), bias=False)
        self.weight = _rows_of(head.weight, rows)
        self.index = index
        self.vocabulary = vocabulary

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., width) -> (..., vocabulary), of which only those that are kept are multiplied out."""
        scores = super().forward(input)
        everything = scores.new_full((*scores.shape[:-1], self.vocabulary), -torch.inf)
        return everything.index_copy(-1, self.index.to(scores.device), scores)


def _rows_of(weight: torch.Tensor, rows: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().index_select(0, rows.to(weight.device)), weight.requires_grad)


def tokens_of(model: VisionEncoderDecoderModel) -> Sequence[int]:
    """The numbers of the tokens that a model has rows for, in order."""
    kept: Sequence[int] | None = getattr(model.config, "kept_tokens", None)
    return range(int(cast(Any, model.decoder).config.vocab_size)) if kept is None else kept


def keep_tokens(model: VisionEncoderDecoderModel, tokens: Iterable[int]) -> None:
    """Leave the rows of these tokens in the table and in the output head, in place; the config of the model says so.

    That of the padding stays anyway. Raises `ValueError` for a token that the model has no row for.
    """
    kept = sorted({*tokens, int(cast(Any, model.decoder).config.pad_token_id)})
    take_rows(model, kept, tokens_of(model))
    model.config.kept_tokens = kept
    if getattr(model.config, "shapes", {}):
        record_shapes(cast(Any, model))  # the table is among them


def take_rows(model: VisionEncoderDecoderModel, kept: Sequence[int], held: Sequence[int]) -> None:
    """Give a model whose rows are those of `held` a table of the rows of `kept`, which any file may have as it likes.

    The config is not changed. Raises `ValueError` as `keep_tokens`, for numbers out of order, or without the padding.
    """
    decoder, row_of = cast(Any, model.decoder), {token: row for row, token in enumerate(held)}
    table, head = decoder.get_input_embeddings(), decoder.lm_head
    if not isinstance(kept, list) or not all(type(token) is int and token in row_of for token in kept):
        raise ValueError(f"kept_tokens is no list of some of its {len(held)} tokens")
    if sorted(set(kept)) != kept:
        raise ValueError("kept_tokens are not in order, each once")
    padding = int(decoder.config.pad_token_id)
    if padding not in kept:
        raise ValueError(f"kept_tokens lack {padding}, the padding")
    # Not where the weights are: those of a sketch, or of a model that is about to be filled, have no values yet.
    numbers = torch.tensor(kept, device="cpu")
    index = torch.full((int(decoder.config.vocab_size),), kept.index(padding), device="cpu")
    index[numbers] = torch.arange(len(kept), device="cpu")
    rows = torch.tensor([row_of[token] for token in kept], device="cpu")
    smaller = KeptEmbedding(table, rows, index, kept.index(padding))
    output = KeptHead(head, rows, numbers, len(index))
    if head.weight is table.weight:
        output.weight = smaller.weight
    decoder.set_input_embeddings(smaller)
    decoder.set_output_embeddings(output)
