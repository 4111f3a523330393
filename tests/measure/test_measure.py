"""All measures of several models together."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import DonutProcessor

from benchmark.measure import Load, Subject, measure
from benchmark.models.donut import Donut, build
from benchmark.records.record import Efficiency
from benchmark.scales import TINY

ROUNDS = 6
Subjects = Callable[[Donut], Subject]


def whole(outcome: Efficiency | Exception) -> Efficiency:
    assert isinstance(outcome, Efficiency)
    return outcome


def latency(costs: Efficiency) -> dict[str, Any]:
    return {name: value for name, value in costs.model_dump().items() if name.startswith("latency")}


@pytest.fixture(autouse=True)
def _nothing_apart(monkeypatch: pytest.MonkeyPatch, measured: dict[str, Efficiency]) -> None:
    """Only `measured` has the memory of another process, which takes seconds to start."""
    monkeypatch.setattr("benchmark.measure.apart", lambda device: nullcontext())


@pytest.fixture(scope="module")
def measured(teacher: Donut, pruned: Donut, small: Donut, subject: Subjects) -> dict[str, Efficiency]:
    models = {"teacher": teacher, "prune": pruned, "small": small}
    loads: dict[str, Load] = {name: lambda model=model: subject(model) for name, model in models.items()}  # type: ignore[misc]
    return {name: whole(costs) for name, costs in measure(subject(teacher), loads, ROUNDS).items()}


def test_a_pruned_model_is_as_large_and_as_much_work_but_packs_small(measured: dict[str, Efficiency]) -> None:
    dense, sparse = measured["teacher"], measured["prune"]
    same = ("params_total", "params_embedding", "params_nonembedding", "macs", "size_dense_bytes", "peak_memory_bytes")
    assert [getattr(sparse, name) for name in same] == [getattr(dense, name) for name in same]
    assert sparse.density == sparse.params_nonzero / sparse.params_nonembedding < 0.3 * dense.density
    assert sparse.size_packed_bytes < 0.35 * dense.size_packed_bytes


def test_everything_is_measured(measured: dict[str, Efficiency]) -> None:
    for costs in measured.values():
        known = costs.model_dump(exclude={"energy_mj"})  # which a virtual machine does not have
        assert None not in known.values()
        assert list(costs.timings) == ["whole", "encoder", "first_token", "per_token"]
        assert costs.latency_rounds == ROUNDS
        assert costs.peak_memory_bytes is not None
        assert costs.peak_memory_bytes > 4 * costs.params_total
        assert costs.peak_resident_bytes is not None
        assert costs.peak_resident_bytes > 4 * costs.params_total
        assert Efficiency.model_validate_json(costs.model_dump_json()) == costs


def test_what_computes_the_same_is_timed_once(measured: dict[str, Efficiency]) -> None:
    teacher, prune, small = measured["teacher"], measured["prune"], measured["small"]
    assert teacher.computation == prune.computation != small.computation
    assert latency(teacher) == latency(prune)
    assert latency(small)["latency_ms_p50"] != latency(teacher)["latency_ms_p50"]
    assert small.macs != teacher.macs
    assert small.peak_memory_bytes != teacher.peak_memory_bytes


def test_the_ratio_of_what_computes_as_the_teacher_does_is_the_control(measured: dict[str, Efficiency]) -> None:
    controls = [(m.latency_control, m.latency_control_low, m.latency_control_high) for m in measured.values()]
    prune = measured["prune"]
    assert {*controls} == {(prune.latency_ratio, prune.latency_ratio_low, prune.latency_ratio_high)}


def test_the_models_are_left_as_they_were(teacher: Donut, small: Donut, subject: Subjects) -> None:
    models = {"teacher": deepcopy(teacher).train(), "small": deepcopy(small).train()}
    before = {name: deepcopy(model.state_dict()) for name, model in models.items()}
    random = torch.get_rng_state()
    measure(subject(models["teacher"]), {"small": lambda: subject(models["small"])}, rounds=1)
    assert torch.equal(torch.get_rng_state(), random)
    for name, model in models.items():
        assert all(module.training for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(value, before[name][key]) for key, value in model.state_dict().items())


def test_a_model_that_cannot_be_measured_costs_nothing_else(teacher: Donut, small: Donut, subject: Subjects) -> None:
    lost = OSError("its checkpoint is gone")
    broken = deepcopy(small)
    del broken.decoder.model.decoder.layers[0].fc1

    def lose() -> Subject:
        raise lost

    loads: dict[str, Load] = {
        "lost": lose,
        "broken": lambda: subject(broken),
        "small": lambda: subject(small),
    }
    found = measure(subject(teacher), loads, ROUNDS)
    assert list(found) == ["lost", "broken", "small"]
    assert found["lost"] is lost
    assert isinstance(found["broken"], AttributeError)
    assert whole(found["small"]).latency_ratio is not None


def test_a_model_that_breaks_while_it_is_timed_costs_nothing_else(
    teacher: Donut, small: Donut, subject: Subjects
) -> None:
    weak, pages = deepcopy(small), iter(range(5))

    def tire(module: object, args: object) -> None:
        next(pages)

    weak.encoder.register_forward_pre_hook(tire)
    found = measure(subject(teacher), {"weak": lambda: subject(weak), "teacher": lambda: subject(teacher)}, ROUNDS)
    assert isinstance(found["weak"], StopIteration)
    assert whole(found["teacher"]).latency_ratio is not None


class Broken:
    """Has no room for the model that is asked for second."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, name: str, *_: object) -> None:
        self.asked.append(name)

    def peaks(self) -> dict[str, int | Exception]:
        return {self.asked[0]: 7, self.asked[1]: MemoryError("no room")}


def test_a_model_that_breaks_in_its_own_process_costs_nothing_else(
    teacher: Donut, small: Donut, subject: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = Broken()
    monkeypatch.setattr("benchmark.measure.apart", lambda device: nullcontext(others))
    found = measure(subject(teacher), {"small": lambda: subject(small), "teacher": lambda: subject(teacher)}, rounds=1)
    assert len(others.asked) == 2, "each computation is asked for once"
    assert isinstance(found["small"], MemoryError)
    assert whole(found["teacher"]).peak_resident_bytes == 7


def test_a_teacher_that_cannot_be_measured_is_told(teacher: Donut, subject: Subjects) -> None:
    broken = deepcopy(teacher)
    del broken.encoder.bridge
    with pytest.raises(AttributeError):
        measure(subject(broken), {}, ROUNDS)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Models have to go without a search for cycles, which may come late."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_one_model_of_each_computation_is_in_memory(
    teacher: Donut, processor: DonutProcessor, subject: Subjects
) -> None:
    born: list[weakref.ref[Donut]] = []
    alive: list[int] = []

    def load(small: bool, breaks: bool = False) -> Subject:
        alive.append(sum(model() is not None for model in born))
        model = build(TINY, TINY.small if small else TINY.teacher, len(processor.tokenizer), seed=len(born))
        born.append(weakref.ref(model))
        if breaks:
            del model.decoder.model.decoder.layers[0].fc1
        return subject(model)

    loads: dict[str, Load] = {
        "as the teacher": lambda: load(small=False),
        "another": lambda: load(small=False),
        "small": lambda: load(small=True),
        "broken": lambda: load(small=True, breaks=True),
        "as small": lambda: load(small=True),
        "a third": lambda: load(small=False),
    }
    found = measure(subject(teacher), loads, rounds=1)
    assert alive == [0, 0, 0, 1, 1, 1]
    assert isinstance(found["broken"], AttributeError)
    assert not any(model() for model in born)
