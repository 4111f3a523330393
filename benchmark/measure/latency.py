"""How long reading one document takes, from the page in bytes to the text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from transformers import DonutProcessor

from benchmark.devices import one_thread
from benchmark.models.donut import Donut
from benchmark.models.greedy import greedy, supports
from benchmark.models.processor import fit_page, to_pixels
from benchmark.progress import quiet
from benchmark.scoring.predict import decode, transformers_greedy

Read = Callable[[torch.Tensor], object]
"""Reads one page, uint8 (1, height, width[, 3])."""

_NEVER = 2**31 - 1
"""No token has this number: with it as the end token nothing ends early."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles over documents, in milliseconds."""

    p50: float
    p95: float


def measure_latency(
    model: Donut,
    processor: DonutProcessor,
    pages: torch.Tensor,
    prompt: str,
    longest: int,
    tokens: int,
    repeats: int,
) -> tuple[Latency, Latency]:
    """The latency of writing `tokens` tokens, and of writing until the model stops or has reached `longest`.

    Both over the first `repeats` pages (uint8, on the CPU), one at a time, after a warm-up, on one thread. Resizing is
    timed, but free for pages that have the model's size already.
    """
    pages = pages[:repeats]
    fixed = partial(read_fixed, model, processor, prompt=prompt, tokens=tokens)
    natural = partial(decode, model, processor, prompt=prompt, longest=longest)
    with one_thread():
        fixed(pages[:1])
        times = [_latency(read, processor, pages, model.device) for read in (fixed, natural)]
    return times[0], times[1]


def _latency(read: Read, processor: DonutProcessor, pages: torch.Tensor, device: torch.device) -> Latency:
    times = [_milliseconds(read, processor, page, device) for page in pages]
    p50, p95 = np.percentile(times, [50, 95])
    return Latency(float(p50), float(p95))


def _milliseconds(read: Read, processor: DonutProcessor, page: torch.Tensor, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    read(torch.from_numpy(fit_page(processor, page.numpy()))[None])
    _wait(device)
    return 1000 * (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    # Kernels on a GPU run behind the clock.
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_fixed(model: Donut, processor: DonutProcessor, page: torch.Tensor, prompt: str, tokens: int) -> torch.Tensor:
    """Read uint8 (1, height, width[, 3]) as `decode` does, but write exactly `tokens` tokens: (1, tokens)."""
    start = processor.tokenizer.convert_tokens_to_ids(prompt)
    write = greedy if supports(model) else transformers_greedy
    with quiet(model):
        return write(model, to_pixels(processor, page.to(model.device)), start, _NEVER, tokens + 1)
