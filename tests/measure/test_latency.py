"""Latencies: medians of paired times, by a clock that the test turns; and real readings of the right length."""

from __future__ import annotations

import gc
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from transformers import DonutProcessor, MBartForCausalLM

from benchmark.measure.latency import (
    WARM_UP,
    Clock,
    Marks,
    Read,
    Timed,
    measure_latency,
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

    def reader(self, name: str, seconds: float, rounds: int, encoder: float = 0.5, first: float = 0.6) -> Read:
        """`seconds` in the first round of `rounds` that counts, and ten times that while it warms up.

        `encoder` is the share of it that the encoder takes, `first` that up to the first token; four tokens follow.
        """
        times = [10 * seconds] * WARM_UP + [seconds * self._slowing**turn for turn in range(rounds)]
        left = iter(times)

        def read(clock: Clock) -> Marks:
            self.calls.append(name)
            began, seconds = clock(), next(left)
            self.now += seconds
            return Marks(began + encoder * seconds, began + first * seconds, 4)

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


def test_a_ratio_is_that_of_the_same_round_on_a_machine_that_slows_down() -> None:
    machine, rounds = Machine(slowing=1.1), 20

    def teacher(clock: Clock) -> Marks:  # called twice a round
        return next(entries)(clock)

    both = [machine.reader("teacher", 1.0, rounds) for _ in range(2)]
    entries = iter(both * (WARM_UP + rounds))
    readers = {"teacher": teacher, "slow": machine.reader("slow", 2.0, rounds, encoder=0.125, first=0.2)}
    found = measure_latency(readers, "teacher", rounds, machine.clock)
    slow, own = found["slow"], found["teacher"]
    assert not isinstance(slow, Exception)
    assert not isinstance(own, Exception)
    ratios = {"whole": 2, "encoder": 0.25 / 0.5, "first_token": 0.4 / 0.6, "per_token": 1.6 / 0.4}
    for name in ("value", "low", "high"):
        assert {part: getattr(timing.ratio, name) for part, timing in slow.timings.items()} == pytest.approx(ratios)
        assert getattr(slow.decoder_ratio, name) == pytest.approx(3.5)
        assert [getattr(timing.ratio, name) for timing in own.timings.values()] == pytest.approx([1] * 4)
        assert getattr(slow.control, name) == getattr(own.decoder_ratio, name) == pytest.approx(1)
    assert slow.rounds == own.rounds == rounds


def test_milliseconds_of_the_parts() -> None:
    machine, rounds = Machine(), 60
    times = time_in_turns({"a": machine.reader("a", 2.0, rounds, 0.125, 0.2)}, rounds, machine.clock)["a"]
    assert isinstance(times, Timed)
    expected = {"whole": 2000.0, "encoder": 250.0, "first_token": 400.0, "per_token": 1600.0 / 4}
    assert {name: found.tolist() for name, found in times.parts.items()} == {
        name: pytest.approx([milliseconds] * rounds) for name, milliseconds in expected.items()
    }
    assert times.energy is None


def test_quantiles_are_those_of_the_rounds() -> None:
    """A machine that slows down by a millisecond a round takes 1000, 1001, ... 1059 of them."""
    now, calls = [0.0], iter(range(10**6))

    def read(clock: Clock) -> Marks:
        began, turn = clock(), next(calls)
        now[0] += 1.0 + 0.001 * (turn // 2 - WARM_UP)  # it is entered twice
        return Marks(began + 0.25, began + 0.5, 1)

    found = measure_latency({"teacher": read}, "teacher", 60, lambda: now[0])["teacher"]
    assert not isinstance(found, Exception)
    whole = found.timings["whole"]
    assert whole.p50.value == pytest.approx(1029.5)
    assert [whole.p50.low, whole.p50.high] == pytest.approx([1021, 1038])
    assert whole.p95.value == pytest.approx(1000 + 0.95 * 59)
    assert [whole.p95.low, whole.p95.high] == pytest.approx([1051, 1059])


def test_one_token_has_no_time_a_token() -> None:
    machine = Machine()

    def read(clock: Clock) -> Marks:
        began = clock()
        machine.now += 1.0
        return Marks(began + 0.25, began + 0.5, 0)

    found = measure_latency({"teacher": read}, "teacher", 6, machine.clock)["teacher"]
    assert not isinstance(found, Exception)
    assert list(found.timings) == ["whole", "encoder", "first_token"]
    assert found.energy_mj is None


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

    def read(clock: Clock) -> Marks:
        seen.append((torch.get_num_threads(), gc.isenabled()))
        return Marks(clock(), clock(), 1)

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


@pytest.mark.parametrize("decoder", [MBartForCausalLM, OtherDecoder])
def test_the_parts_end_where_they_are_there(
    decoder: type, teacher: Donut, processor: DonutProcessor, dataset: Dataset, pages: EncodedDocuments
) -> None:
    """By a clock that only the encoder and each layer of the decoder turn."""
    now = [0.0]

    def takes(seconds: float) -> Callable[..., None]:
        def turn(*_: object) -> None:
            now[0] += seconds

        return turn

    model = deepcopy(teacher)
    model.decoder.__class__ = decoder
    model.encoder.encoder.register_forward_hook(takes(3.0))
    for layer in model.decoder.model.decoder.layers:
        layer.fc1.register_forward_hook(takes(0.25))
    read = reader(model.train(False), processor, pages.pages[:1], prompt_of(dataset), tokens=5)
    before = [len(part._forward_hooks) for part in (model.encoder, model.decoder.lm_head)]
    times = time_in_turns({"a": read}, rounds=3, clock=lambda: now[0])["a"]
    assert isinstance(times, Timed)
    assert times.encoder.tolist() == [3000.0] * 3
    assert times.first_token.tolist() == [3000.0 + 4 * 250.0] * 3
    assert times.decoder.tolist() == [5 * 4 * 250.0] * 3
    assert times.parts["per_token"].tolist() == [4 * 250.0] * 3
    assert [len(part._forward_hooks) for part in (model.encoder, model.decoder.lm_head)] == before
