"""How long reading one document takes, from the page in bytes to its tokens, in turns with the teacher.

The parts of a reading are told apart by moments within it: the encoder's states are there, resizing included; the
first token's scores are, which is what a user waits for; the last token is.

A machine is never as fast in one minute as in the next: what is timed minutes apart cannot be compared. Readers that
take turns meet the same minutes, and the ratio of two times of one round is free of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.devices import one_thread
from benchmark.measure.energy import Counter
from benchmark.measure.quantiles import P95, median, quantile
from benchmark.models.donut import Donut
from benchmark.models.processor import fit_page, to_pixels
from benchmark.progress import quiet
from benchmark.records.record import Interval, Part, Timing
from benchmark.scoring.predict import Reading, reading_of

Clock = Callable[[], float]
"""Seconds."""
Times = NDArray[np.float64]
"""Milliseconds, one a round."""


class Marks(NamedTuple):
    """The moments of a reading at which the encoder was done and the first token was there, and the tokens after it."""

    encoded: float
    first: float
    rest: int


Read = Callable[[Clock], Marks]
"""Reads a page and returns when the device has done it."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The milliseconds of each round from the page to the last token, to the encoder's states, to the first token.

    `rest` tokens follow the first; `energy` is in millijoules, None without a counter.
    """

    whole: Times
    encoder: Times
    first_token: Times
    rest: int
    energy: Times | None = None

    @property
    def decoder(self) -> Times:
        return self.whole - self.encoder

    @property
    def parts(self) -> dict[Part, Times]:
        """By name; one token alone has no time a token."""
        parts: dict[Part, Times] = {"whole": self.whole, "encoder": self.encoder, "first_token": self.first_token}
        return parts | ({"per_token": (self.whole - self.first_token) / self.rest} if self.rest else {})


WARM_UP = 2
"""Rounds before the first that counts."""
_DIVISOR = "the teacher's first entry"
_NEVER = 2**31 - 1
"""No token has this number: with it as the end token nothing ends early."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Times in milliseconds; ratios to the teacher's time in the same round; that of its second entry."""

    timings: dict[Part, Timing]
    decoder_ratio: Interval
    control: Interval
    energy_mj: Interval | None
    rounds: int


def measure_latency(
    readers: Mapping[str, Read],
    teacher: str,
    rounds: int,
    clock: Clock = time.perf_counter,
    counter: Counter | None = None,
) -> dict[str, Latency | Exception]:
    """The latency of each reader, or what it raised.

    Times are divided by those of the reader named `teacher`, which is entered once more for that: the ratio of its two
    entries says what the clock cannot tell apart. Raises what it raises.
    """
    times = time_in_turns({_DIVISOR: readers[teacher], **readers}, rounds, clock, counter)
    divisor, second = _present(times.pop(_DIVISOR)), _present(times[teacher])
    control = median(second.whole / divisor.whole)
    return {name: own if isinstance(own, Exception) else _latency(own, divisor, control) for name, own in times.items()}


def _present(times: Timed | Exception) -> Timed:
    if isinstance(times, Exception):
        raise times
    return times


def _latency(own: Timed, divisor: Timed, control: Interval) -> Latency:
    theirs = divisor.parts
    return Latency(
        timings={name: _timing(times, times / theirs[name]) for name, times in own.parts.items()},
        decoder_ratio=median(own.decoder / divisor.decoder),
        control=control,
        energy_mj=None if own.energy is None else median(own.energy),
        rounds=len(own.whole),
    )


def _timing(times: Times, ratios: Times) -> Timing:
    return Timing(p50=median(times), p95=quantile(times, P95), ratio=median(ratios))


def time_in_turns(
    readers: Mapping[str, Read], rounds: int, clock: Clock = time.perf_counter, counter: Counter | None = None
) -> dict[str, Timed | Exception]:
    """The milliseconds of each reader in each round, or what it raised: then it is out, and the others go on.

    A round calls every reader once, on one thread, in an order that is drawn anew, so that none always finds the
    caches that the same other has left. The same orders each time. A `counter` of energy is read beside the clock.
    """
    names = list(readers)
    turns: dict[str, list[_Turn]] = {name: [] for name in names}
    failures: dict[str, Exception] = {}
    orders = np.random.default_rng(0)
    with one_thread(), _no_garbage_collection():
        for _ in range(WARM_UP + rounds):
            for name in (names[i] for i in orders.permutation(len(names))):
                if name not in failures:
                    try:
                        turns[name].append(_turn(readers[name], clock, counter))
                    except Exception as error:
                        failures[name] = error
    return {name: failures[name] if name in failures else _timed(turns[name][WARM_UP:]) for name in names}


class _Turn(NamedTuple):
    """Of one reading: seconds of all, of the encoder and up to the first token; tokens after it; millijoules."""

    whole: float
    encoder: float
    first_token: float
    rest: int
    energy: float | None


def _turn(read: Read, clock: Clock, counter: Counter | None) -> _Turn:
    before = None if counter is None else counter.read()
    start = clock()
    marks = read(clock)
    end = clock()
    energy = None if counter is None or before is None else counter.millijoules(before, counter.read())
    return _Turn(end - start, marks.encoded - start, marks.first - start, marks.rest, energy)


def _timed(turns: Sequence[_Turn]) -> Timed:
    whole, encoder, first_token = 1000 * np.array([turn[:3] for turn in turns]).T
    energy = [turn.energy for turn in turns if turn.energy is not None]
    return Timed(whole, encoder, first_token, turns[0].rest, np.array(energy) if energy else None)


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
    reading = reading_of(model)

    def wait() -> None:
        if model.device.type == "cuda":  # kernels there run behind the clock
            torch.cuda.synchronize(model.device)

    def read(clock: Clock) -> Marks:
        noted: dict[str, float] = {}

        def note(what: str) -> Callable[..., None]:
            def hook(*_: object) -> None:
                if what not in noted:  # later tokens must not wait for the device
                    wait()
                    noted[what] = clock()

            return hook

        encoder, scores = reading.encoder, reading.scores
        with encoder.register_forward_hook(note("encoder")), scores.register_forward_hook(note("first token")):
            write_tokens(reading, to_pixels(processor, fitted(processor, page).to(model.device)), start, tokens)
        wait()
        return Marks(noted["encoder"], noted["first token"], tokens - 1)

    return read


def fitted(processor: DonutProcessor, page: torch.Tensor) -> torch.Tensor:
    """uint8 (1, height, width[, 3]) on the CPU -> the same at the model's size."""
    return torch.from_numpy(fit_page(processor, page[0].numpy()))[None]


def read_fixed(model: Donut, processor: DonutProcessor, page: torch.Tensor, prompt: str, tokens: int) -> torch.Tensor:
    """Read uint8 (1, height, width[, 3]) as `decode` does, but write exactly `tokens` tokens: (1, tokens)."""
    start = processor.tokenizer.convert_tokens_to_ids(prompt)
    with quiet(model):
        return write_tokens(reading_of(model), to_pixels(processor, page.to(model.device)), start, tokens)


def write_tokens(reading: Reading, pixels: torch.Tensor, start: int, tokens: int) -> torch.Tensor:
    """float (1, 3, height, width) and the first input of the decoder -> exactly `tokens` tokens, (1, tokens)."""
    return reading.write(pixels, start, _NEVER, tokens + 1)
