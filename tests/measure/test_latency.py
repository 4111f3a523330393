"""Latencies: medians of paired times, by a clock that the test turns; and real readings of the right length."""

from __future__ import annotations

import gc
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from transformers import DonutProcessor, MBartForCausalLM

from benchmark.measure.latency import (
    WARM_UP,
    Clock,
    Median,
    Read,
    Timed,
    measure_latency,
    median,
    read_fixed,
    reader,
    time_in_turns,
)
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import prompt_of
from benchmark.scoring.predict import decode
from benchmark.types import Dataset


class OtherDecoder(MBartForCausalLM):
    """Reads as MBART does, but is not known to `models.greedy`."""


class Machine:
    """A clock of seconds, and readers that take some of them: more and more, for the machine slows down."""

    def __init__(self, slowing: float = 1.0) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self._slowing = slowing

    def clock(self) -> float:
        return self.now

    def reader(self, name: str, seconds: float, rounds: int, encoder: float = 0.5) -> Read:
        """`seconds` in the first round of `rounds` that counts, and ten times that while it warms up.

        `encoder` is the share of it that the encoder takes.
        """
        times = [10 * seconds] * WARM_UP + [seconds * self._slowing**turn for turn in range(rounds)]
        left = iter(times)

        def read(clock: Clock) -> float:
            self.calls.append(name)
            began, seconds = clock(), next(left)
            self.now += seconds
            return began + encoder * seconds

        return read


@pytest.fixture
def silent(teacher: Donut, processor: DonutProcessor) -> Donut:
    """A model that ends at once: whatever it sees, its last state is the end token's embedding."""
    model = deepcopy(teacher)
    norm = model.decoder.model.decoder.layer_norm
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(model.decoder.lm_head.weight[processor.tokenizer.eos_token_id])
    return model


def milliseconds(times: Timed | Exception) -> list[float]:
    assert isinstance(times, Timed)
    return [float(time) for time in times.whole]


def coverage(count: int, k: int) -> float:
    """How often the median lies between the k-th smallest and the k-th largest value: each is below it or above."""
    sides = [sum(below) for below in product((0, 1), repeat=count)]
    return sum(k <= below <= count - k for below in sides) / len(sides)


@pytest.mark.parametrize("count", [6, 7, 9, 12, 15])
def test_the_interval_is_the_narrowest_that_covers_95_percent(count: int) -> None:
    shuffled = np.random.default_rng(1).permutation(count).astype(float)
    found = median(shuffled)
    assert found.low is not None
    k = int(found.low) + 1
    assert found == Median((count - 1) / 2, k - 1, count - k)
    assert coverage(count, k) >= 0.95 > coverage(count, k + 1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_values_have_no_interval(count: int) -> None:
    assert median(np.arange(count, dtype=float)) == Median((count - 1) / 2, None, None)


def test_the_interval_of_forty_rounds() -> None:
    assert median(np.arange(1, 41, dtype=float)) == Median(20.5, 14, 27)


def test_a_ratio_is_that_of_the_same_round_on_a_machine_that_slows_down() -> None:
    machine, rounds = Machine(slowing=1.1), 20

    def teacher(clock: Clock) -> float:  # called twice a round
        return next(entries)(clock)

    both = [machine.reader("teacher", 1.0, rounds) for _ in range(2)]
    entries = iter(both * (WARM_UP + rounds))
    readers = {"teacher": teacher, "slow": machine.reader("slow", 2.0, rounds, encoder=0.125)}
    found = measure_latency(readers, "teacher", rounds, machine.clock)
    slow, own = found["slow"], found["teacher"]
    assert not isinstance(slow, Exception)
    assert not isinstance(own, Exception)
    for name in ("value", "low", "high"):
        assert getattr(slow.ratio, name) == pytest.approx(2)
        assert getattr(slow.encoder_ratio, name) == pytest.approx(0.5)
        assert getattr(slow.decoder_ratio, name) == pytest.approx(3.5)
        assert getattr(own.ratio, name) == getattr(slow.control, name) == pytest.approx(1)
        assert getattr(own.encoder_ratio, name) == getattr(own.decoder_ratio, name) == pytest.approx(1)
    assert slow.rounds == own.rounds == rounds
    assert slow.p50 == pytest.approx(2 * own.p50) == pytest.approx(1000 * 2 * 1.1 ** ((rounds - 1) / 2), rel=0.01)
    assert slow.p95 > 2 * slow.p50
    assert slow.encoder_p50 == pytest.approx(slow.p50 / 8)


def test_every_round_reads_once_with_each_and_none_always_after_the_same() -> None:
    machine, rounds, names = Machine(), 10, ["a", "b", "c", "d"]
    times = time_in_turns({name: machine.reader(name, 1.0, rounds) for name in names}, rounds, machine.clock)
    turns = [machine.calls[i : i + len(names)] for i in range(0, len(machine.calls), len(names))]
    assert len(turns) == WARM_UP + rounds
    assert all(sorted(turn) == names for turn in turns)
    for name in names:
        assert {before for before, after in pairwise(machine.calls) if after == name} >= {*names} - {name}
    # The first rounds, ten times as long, do not count.
    assert all(milliseconds(times[name]) == pytest.approx([1000.0] * rounds) for name in names)


def test_a_reader_that_breaks_is_out_and_the_others_go_on() -> None:
    machine = Machine()
    readers = {"sound": machine.reader("sound", 1.0, 8), "broken": machine.reader("broken", 1.0, 3)}
    times = time_in_turns(readers, 8, machine.clock)
    assert isinstance(times["broken"], StopIteration)
    assert milliseconds(times["sound"]) == pytest.approx([1000.0] * 8)
    assert machine.calls.count("broken") == WARM_UP + 3 + 1


def test_a_teacher_that_breaks_leaves_nothing_to_compare_with() -> None:
    machine = Machine()
    readers = {"teacher": machine.reader("teacher", 1.0, 3), "sound": machine.reader("sound", 1.0, 8)}
    with pytest.raises(StopIteration):
        measure_latency(readers, "teacher", 8, machine.clock)


def test_reading_is_on_one_thread_and_not_interrupted() -> None:
    seen: list[tuple[int, bool]] = []

    def read(clock: Clock) -> float:
        seen.append((torch.get_num_threads(), gc.isenabled()))
        return clock()

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        time_in_turns({"a": read}, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {(1, False)}
    assert gc.isenabled()


@pytest.mark.parametrize("decoder", [MBartForCausalLM, OtherDecoder])
def test_the_fixed_length_ignores_the_end_token(
    decoder: type, silent: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset
) -> None:
    silent.decoder.__class__ = decoder
    prompt = prompt_of(dataset)
    assert decode(silent, processor, pages.pages[:1], prompt, longest=8) == [("", True)]
    written = read_fixed(silent, processor, pages.pages[:1], prompt, tokens=7)
    assert written.tolist() == [[processor.tokenizer.eos_token_id] * 7]


def test_a_page_of_another_size_is_resized_each_time(
    teacher: Donut, processor: DonutProcessor, dataset: Dataset
) -> None:
    page = torch.full((1, 2 * 96, 300), 255, dtype=torch.uint8)
    read: list[tuple[int, ...]] = []
    handle = teacher.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    try:
        time_in_turns({"a": reader(teacher, processor, page, prompt_of(dataset), tokens=2)}, rounds=1)
    finally:
        handle.remove()
    assert read == [(1, 3, 96, 160)] * (WARM_UP + 1)


def test_the_encoder_ends_where_its_states_are_there(
    teacher: Donut, processor: DonutProcessor, dataset: Dataset, pages: EncodedDocuments
) -> None:
    """By a clock that only the encoder and each layer of the decoder turn."""
    now = [0.0]

    def takes(seconds: float) -> Callable[..., None]:
        def turn(*_: object) -> None:
            now[0] += seconds

        return turn

    model = deepcopy(teacher)
    model.encoder.encoder.register_forward_hook(takes(3.0))
    for layer in model.decoder.model.decoder.layers:
        layer.fc1.register_forward_hook(takes(0.25))
    read = reader(model.train(False), processor, pages.pages[:1], prompt_of(dataset), tokens=5)
    before = len(model.encoder._forward_hooks)
    times = time_in_turns({"a": read}, rounds=3, clock=lambda: now[0])["a"]
    assert isinstance(times, Timed)
    assert times.encoder.tolist() == [3000.0] * 3
    assert times.decoder.tolist() == [5 * 4 * 250.0] * 3
    assert len(model.encoder._forward_hooks) == before
