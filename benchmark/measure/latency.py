"""How long reading one document takes, from the page in bytes to its tokens, in turns with the teacher.

Encoder and decoder are told apart by the moment between them: up to there it is the encoder, resizing included.

A machine is never as fast in one minute as in the next: what is timed minutes apart cannot be compared. Readers that
take turns meet the same minutes, and the ratio of two times of one round is free of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.devices import one_thread
from benchmark.models.donut import Donut
from benchmark.models.greedy import greedy, supports
from benchmark.models.processor import fit_page, to_pixels
from benchmark.progress import quiet
from benchmark.scoring.predict import transformers_greedy

Clock = Callable[[], float]
"""Seconds."""
Read = Callable[[Clock], float]
"""Reads a page and returns when the device has done it: the moment at which the encoder had."""
Times = NDArray[np.float64]
"""Milliseconds, one a round."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The milliseconds of each round, and of them those of the encoder."""

    whole: Times
    encoder: Times

    @property
    def decoder(self) -> Times:
        return self.whole - self.encoder


WARM_UP = 2
"""Rounds before the first that counts."""
_DIVISOR = "the teacher's first entry"
_NEVER = 2**31 - 1
"""No token has this number: with it as the end token nothing ends early."""


@dataclass(frozen=True, slots=True)
class Median:
    """A median and its 95 % interval, None where there are too few values for one."""

    value: float
    low: float | None
    high: float | None


def median(values: Times) -> Median:
    """The median of independent values, with an interval that holds whatever their distribution.

    The number of n values below the true median is binomial (n, 1/2). So the k-th smallest and the k-th largest
    value enclose it with probability 1 - 2 P(B < k) = 1 - 2 sum(comb(n, i) for i < k) / 2^n at least; k is the
    largest for which that is 95 % or more. With fewer than six values none is.
    """
    ordered, middle = np.sort(values), float(np.median(values))
    below = accumulate(comb(len(ordered), i) for i in range(len(ordered)))
    # In integers: 2 below / 2^n <= 1/20.
    k = sum(40 * count <= 2 ** len(ordered) for count in below)
    return Median(middle, float(ordered[k - 1]), float(ordered[-k])) if k else Median(middle, None, None)


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in milliseconds; ratios to the teacher's time in the same round; that of its second entry."""

    p50: float
    p95: float
    encoder_p50: float
    ratio: Median
    encoder_ratio: Median
    decoder_ratio: Median
    control: Median
    rounds: int


def measure_latency(
    readers: Mapping[str, Read], teacher: str, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Latency | Exception]:
    """The latency of each reader, or what it raised.

    Times are divided by those of the reader named `teacher`, which is entered once more for that: the ratio of its two
    entries says what the clock cannot tell apart. Raises what it raises.
    """
    times = time_in_turns({_DIVISOR: readers[teacher], **readers}, rounds, clock)
    divisor, second = _present(times.pop(_DIVISOR)), _present(times[teacher])
    control = median(second.whole / divisor.whole)
    return {name: own if isinstance(own, Exception) else _latency(own, divisor, control) for name, own in times.items()}


def _present(times: Timed | Exception) -> Timed:
    if isinstance(times, Exception):
        raise times
    return times


def _latency(own: Timed, divisor: Timed, control: Median) -> Latency:
    p50, p95 = np.percentile(own.whole, [50, 95])
    return Latency(
        p50=float(p50),
        p95=float(p95),
        encoder_p50=float(np.median(own.encoder)),
        ratio=median(own.whole / divisor.whole),
        encoder_ratio=median(own.encoder / divisor.encoder),
        decoder_ratio=median(own.decoder / divisor.decoder),
        control=control,
        rounds=len(own.whole),
    )


def time_in_turns(
    readers: Mapping[str, Read], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Timed | Exception]:
    """The milliseconds of each reader in each round, or what it raised: then it is out, and the others go on.

    A round calls every reader once, on one thread, in an order that is drawn anew, so that none always finds the
    caches that the same other has left. The same orders each time.
    """
    names = list(readers)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    failures: dict[str, Exception] = {}
    orders = np.random.default_rng(0)
    with one_thread(), _no_garbage_collection():
        for _ in range(WARM_UP + rounds):
            for name in (names[i] for i in orders.permutation(len(names))):
                if name not in failures:
                    try:
                        times[name].append(_milliseconds(readers[name], clock))
                    except Exception as error:
                        failures[name] = error
    return {name: failures[name] if name in failures else Timed(*np.array(times[name][WARM_UP:]).T) for name in names}


def _milliseconds(read: Read, clock: Clock) -> tuple[float, float]:
    """Of all, and of the encoder."""
    start = clock()
    encoded = read(clock)
    return 1000 * (clock() - start), 1000 * (encoded - start)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """It would be timed with whoever is reading when it comes."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def reader(model: Donut, processor: DonutProcessor, page: torch.Tensor, prompt: str, tokens: int) -> Read:
    """Reads `page`, uint8 (1, height, width[, 3]) on the CPU, and writes `tokens` tokens.

    Resizing is part of it, but free for a page that has the model's size already. The model has to be in evaluation
    mode: putting it there takes some milliseconds of its own.
    """
    start = processor.tokenizer.convert_tokens_to_ids(prompt)

    def wait() -> None:
        if model.device.type == "cuda":  # kernels there run behind the clock
            torch.cuda.synchronize(model.device)

    def read(clock: Clock) -> float:
        encoded: list[float] = []

        def note(*_: object) -> None:
            wait()
            encoded.append(clock())

        with model.encoder.register_forward_hook(note):
            write_tokens(model, to_pixels(processor, fitted(processor, page).to(model.device)), start, tokens)
        wait()
        return encoded[0]

    return read


def fitted(processor: DonutProcessor, page: torch.Tensor) -> torch.Tensor:
    """uint8 (1, height, width[, 3]) on the CPU -> the same at the model's size."""
    return torch.from_numpy(fit_page(processor, page[0].numpy()))[None]


def read_fixed(model: Donut, processor: DonutProcessor, page: torch.Tensor, prompt: str, tokens: int) -> torch.Tensor:
    """Read uint8 (1, height, width[, 3]) as `decode` does, but write exactly `tokens` tokens: (1, tokens)."""
    start = processor.tokenizer.convert_tokens_to_ids(prompt)
    with quiet(model):
        return write_tokens(model, to_pixels(processor, page.to(model.device)), start, tokens)


def write_tokens(model: Donut, pixels: torch.Tensor, start: int, tokens: int) -> torch.Tensor:
    """float (1, 3, height, width) and the first input of the decoder -> exactly `tokens` tokens, (1, tokens)."""
    write = greedy if supports(model) else transformers_greedy
    return write(model, pixels, start, _NEVER, tokens + 1)
