"""What models cost: parameters, bytes, multiply-accumulates, milliseconds and memory, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from transformers import DonutProcessor

from benchmark.errors import error_line
from benchmark.measure.computation import signature
from benchmark.measure.energy import find_counter
from benchmark.measure.latency import Latency, Read, fitted, measure_latency, read_fixed, reader
from benchmark.measure.memory import peak_memory_bytes
from benchmark.measure.parameters import count_parameters
from benchmark.measure.resident import Apart, apart
from benchmark.models.donut import Donut
from benchmark.models.macs import FIXED_TOKENS, Macs, count_macs
from benchmark.models.onnx_reader import reader_of
from benchmark.models.packed import dense_bytes, packed_bytes
from benchmark.models.processor import to_pixels
from benchmark.models.runtime import runtime_of
from benchmark.progress import quiet, silent
from benchmark.records.record import Efficiency, Interval

ROUNDS = 60
"""The 95 % interval of a median over 60 rounds goes from the 22nd smallest ratio to the 22nd largest."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as it reads one document: on its device, with its processor.

    `page` is uint8 (1, height, width[, 3]) on the CPU. `longest` is the most tokens of an output, the prompt
    included; it caps the length that is measured.
    """

    model: Donut
    processor: DonutProcessor
    page: torch.Tensor
    prompt: str
    longest: int

    @property
    def tokens(self) -> int:
        """How many it writes to be measured."""
        return min(FIXED_TOKENS, self.longest - 1)


Load = Callable[[], Subject]


@dataclass(frozen=True, slots=True)
class _Computation:
    """What all models that compute the same share, and the first of them, which is timed."""

    model: Donut
    read: Read
    macs: Macs
    peak_memory_bytes: int | None


Costs = Efficiency | Exception
"""Of a model, or what it raised."""


def measure(
    teacher: Subject, models: Mapping[str, Load], rounds: int = ROUNDS, say: Callable[[str], object] = lambda line: None
) -> dict[str, Costs]:
    """The costs of each model, one document at a time, timed in turns with the teacher; models are left as they were.

    `say` hears in a line what is done next. Only the first model of each computation is kept in memory, to be timed for
    all. A model that cannot be loaded or measured gives its exception, without traceback, and costs nothing else; a
    teacher that cannot be measured raises.
    """
    with silent(), apart(teacher.model.device) as others:
        own = _signature(teacher)
        computations = {own: _computation(own, teacher, others)}
        counted: dict[str, Costs] = {}
        for number, (name, load) in enumerate(models.items(), start=1):
            say(f"[{number}/{len(models)}] {name}")
            counted[name] = _without_models(_count(load, computations, others))
        peaks = others.peaks() if others else {}
        say(f"{len(computations)} different computations, timed in {rounds} rounds")
        latencies = _time(computations, own, rounds)
    return {name: _without_models(_joined(costs, peaks, latencies)) for name, costs in counted.items()}


def _time(computations: Mapping[str, _Computation], teacher: str, rounds: int) -> dict[str, Latency | Exception]:
    readers = {name: computation.read for name, computation in computations.items()}
    with ExitStack() as modes:
        for computation in computations.values():
            modes.enter_context(quiet(computation.model))
        return measure_latency(readers, teacher, rounds, counter=find_counter())


def _signature(subject: Subject) -> str:
    return signature(subject.model, subject.processor, subject.page, subject.tokens)


def _computation(name: str, subject: Subject, others: Apart | None) -> _Computation:
    model, processor, page, tokens = subject.model, subject.processor, subject.page, subject.tokens
    ready = fitted(processor, page)
    start = processor.tokenizer.convert_tokens_to_ids(subject.prompt)
    read_once = partial(read_fixed, model, processor, ready, subject.prompt, tokens)
    if others:
        others.ask(name, model, to_pixels(processor, ready), start, tokens)
    return _Computation(
        model=model,
        read=reader(model, processor, page, subject.prompt, tokens),
        macs=count_macs(model, to_pixels(processor, ready.to(model.device)), start, tokens),
        # What a runtime allocates are no tensors of torch: the other process tells.
        peak_memory_bytes=None if runtime_of(model) else peak_memory_bytes(model, read_once),
    )


def _bytes(model: Donut) -> tuple[int, int]:
    """Of its file, and of that without zeros; of a model with a runtime twice those of its graphs, which have them."""
    if runtime_of(model) is None:
        return dense_bytes(model), packed_bytes(model)
    graphs = reader_of(model).bytes
    return graphs, graphs


def _count(load: Load, computations: dict[str, _Computation], others: Apart | None) -> Costs:
    """All but the latency and the memory of another process; a computation that is new is added to `computations`."""
    try:
        subject = load()
        name = _signature(subject)
        if name not in computations:
            computations[name] = _computation(name, subject, others)
        counts = count_parameters(subject.model)
        dense, packed = _bytes(subject.model)
        return Efficiency(
            params_total=counts.total,
            params_embedding=counts.embedding,
            params_nonembedding=counts.nonembedding,
            params_nonzero=counts.nonzero,
            density=counts.density,
            macs=computations[name].macs.total,
            macs_encoder=computations[name].macs.encoder,
            size_dense_bytes=dense,
            size_packed_bytes=packed,
            computation=name,
            peak_memory_bytes=computations[name].peak_memory_bytes,
        )
    except KeyboardInterrupt:
        raise
    except Exception as error:
        return error
    except BaseException as error:  # a plugin may raise anything, even SystemExit
        return RuntimeError(error_line(error))


def _without_models(outcome: Costs) -> Costs:
    """An error without its tracebacks: they hold the calls, and those all models that they had at hand."""
    error: BaseException | None = outcome if isinstance(outcome, Exception) else None
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    return outcome


def _joined(costs: Costs, peaks: Mapping[str, int | Exception], latencies: Mapping[str, Latency | Exception]) -> Costs:
    """The costs with those of their computation; the first exception if there is one."""
    if isinstance(costs, Exception):
        return costs
    assert costs.computation is not None
    peak, latency = peaks.get(costs.computation), latencies[costs.computation]
    if isinstance(peak, Exception):
        return peak
    if isinstance(latency, Exception):
        return latency
    return costs.model_copy(update={"peak_resident_bytes": peak, **_of(latency)})


def _of(latency: Latency) -> dict[str, object]:
    whole, encoder = latency.timings["whole"], latency.timings["encoder"]
    return {
        "latency_ms_p50": whole.p50.value,
        "latency_ms_p95": whole.p95.value,
        "latency_encoder_ms_p50": encoder.p50.value,
        **_flat("latency_ratio", whole.ratio),
        **_flat("latency_encoder_ratio", encoder.ratio),
        **_flat("latency_decoder_ratio", latency.decoder_ratio),
        **_flat("latency_control", latency.control),
        "latency_rounds": latency.rounds,
        "timings": latency.timings,
        "energy_mj": latency.energy_mj,
    }


def _flat(name: str, found: Interval) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
