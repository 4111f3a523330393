"""Pages to JSON: greedy decoding, in batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import DonutProcessor

from benchmark.devices import one_thread
from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import greedy, supports
from benchmark.models.onnx_reader import OnnxReader, reader_of
from benchmark.models.pages import Pages
from benchmark.models.processor import pages_at_once, prompt_of, to_json, to_pixels
from benchmark.models.runtime import reads_alone, runtime_of
from benchmark.models.vocabulary import tokens_of
from benchmark.progress import quiet
from benchmark.scoring.accepted import best_ted
from benchmark.types import Dataset


def mean_ted(model: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset, longest: int) -> float:
    """Mean N-TED accuracy over these documents."""
    texts = decode(model, processor, pages.pages, prompt_of(dataset), longest)
    rows = zip(texts, pages.accepted, strict=True)
    scores = [best_ted(to_json(processor, written.text), truths) for written, truths in rows]
    return sum(scores) / len(scores)


class Written(NamedTuple):
    """What a model has written: the tokens without prompt and end, and whether it came to the end."""

    text: str
    ended: bool


def decode(
    model: Donut,
    processor: DonutProcessor,
    pages: Pages,
    prompt: str,
    longest: int,
    batch: int = 50,
) -> list[Written]:
    """What the model writes for each page, as a text. Arguments as `written_tokens`."""
    end = int(processor.tokenizer.eos_token_id)
    written = written_tokens(model, processor, pages, prompt, longest, batch)
    return [Written(_until_end(row, processor), end in row) for row in written]


def written_tokens(
    model: Donut,
    processor: DonutProcessor,
    pages: Pages,
    prompt: str,
    longest: int,
    batch: int = 50,
) -> list[list[int]]:
    """The tokens that the model writes for each page, the last one is the end token if it came to its end.

    Raises `UserError` for a prompt that the model has no row for.

    `pages` are uint8 (documents, height, width[, 3]); prompt, tokens and end are at most `longest` together.
    `batch` pages are read at once, fewer of large ones. A model in int8 reads one at a time, as it does where it is
    used: documents that are read together change each other's rounding.
    """
    start = int(processor.tokenizer.convert_tokens_to_ids(prompt))
    end = int(processor.tokenizer.eos_token_id)
    if start not in tokens_of(model):
        if getattr(model.config, "kept_tokens", None):
            raise UserError(f"the model was trimmed to the tokens of another data set: it does not know {prompt}")
        rows, tokens = len(tokens_of(model)), len(processor.tokenizer)
        raise UserError(
            f"the tokenizer has {tokens} tokens and the model rows for {rows} alone, none for {prompt}: it was not "
            "trained with that; --prompt TOKEN takes another"
        )
    with quiet(model), one_thread() if _is_small(model) else nullcontext():
        write = reading_of(model).write
        return [
            row[: row.index(end) + 1] if end in row else row
            for part in pages.split(1 if reads_alone(model) else min(batch, pages_at_once(processor)))
            for row in write(to_pixels(processor, part.to(model.device)), start, end, longest).tolist()
        ]


_SMALL = 5_000_000
"""Weights of a model whose decoding steps are so short that threads mostly wait for each other; at tiny it has 1M.
24 receipts took 0.39 s on one thread and 0.26 s on two; with one of two cores taken 0.39 s, and 0.85 to 1.4 s."""


def _is_small(model: Donut) -> bool:
    return sum(weight.numel() for weight in model.parameters()) < _SMALL


def perfect(processor: DonutProcessor, labels: torch.Tensor, longest: int) -> list[str]:
    """What `decode` gives for a model that makes no mistake: the labels, as far as they go."""
    return [_until_end(row[row != -100][: longest - 1].tolist(), processor) for row in labels]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads pages for a model: `write` takes pixels, start, end and longest as `models.greedy.greedy` does.

    The first call of `encoder` ends when the page is encoded, that of `scores` when the first token's scores are there.
    """

    write: Callable[[torch.Tensor, int, int, int], torch.Tensor]
    encoder: nn.Module
    scores: nn.Module


def reading_of(model: Donut) -> Reading:
    """That of its runtime; raises as `models.onnx_reader.reader_of`."""
    if runtime_of(model) is None:
        return torch_reading(model)
    return onnx_reading(reader_of(model))


def onnx_reading(reader: OnnxReader) -> Reading:
    return Reading(reader.greedy, reader.encoder, reader.decoder)


def torch_reading(model: Donut) -> Reading:
    write = greedy if supports(model) else transformers_greedy
    return Reading(partial(write, model), model.encoder, model.decoder.lm_head)


@torch.inference_mode()
def transformers_greedy(model: Any, pixels: torch.Tensor, start: int, end: int, longest: int) -> torch.Tensor:
    """What `models.greedy.greedy` does, for any decoder: slower, and what follows the end token is arbitrary."""
    written: torch.Tensor = model.generate(
        pixel_values=pixels,
        decoder_input_ids=torch.full((len(pixels), 1), start, device=pixels.device),
        max_length=longest,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        pad_token_id=start,
        eos_token_id=end,
        forced_eos_token_id=None,
    )
    return written[:, 1:]


def _until_end(tokens: list[int], processor: DonutProcessor) -> str:
    end = processor.tokenizer.eos_token_id
    kept = tokens[: tokens.index(end)] if end in tokens else tokens
    return str(processor.tokenizer.decode(kept, skip_special_tokens=False))
