"""What a model costs: parameters, bytes, multiply-accumulates, milliseconds and memory."""

from __future__ import annotations

from transformers import DonutProcessor

from benchmark.measure.latency import measure_latency, read_fixed
from benchmark.measure.macs import count_macs
from benchmark.measure.memory import peak_memory_bytes
from benchmark.measure.parameters import count_parameters
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.packed import dense_bytes, packed_bytes
from benchmark.models.processor import to_pixels
from benchmark.records.record import Efficiency

FIXED_TOKENS = 64
"""What rows are compared at: the length of `macs`, `latency_ms` and `peak_memory_bytes`."""


def measure(
    model: Donut,
    processor: DonutProcessor,
    pages: EncodedDocuments,
    prompt: str,
    longest: int,
    repeats: int = 5,
) -> Efficiency:
    """Measure `model` on the device that it is on, one document at a time; it is left as it was.

    The latencies are those of the first `repeats` pages. `longest` is the most tokens of an output, the
    prompt included; it caps the natural length, and the fixed one if it is below `FIXED_TOKENS`.
    """
    tokens = min(FIXED_TOKENS, longest - 1)
    page = pages.pages[:1]
    counts = count_parameters(model)
    pixels = to_pixels(processor, page.to(model.device))
    start = processor.tokenizer.convert_tokens_to_ids(prompt)
    fixed, natural = measure_latency(model, processor, pages.pages, prompt, longest, tokens, repeats)
    peak = peak_memory_bytes(model, lambda: read_fixed(model, processor, page, prompt, tokens))
    return Efficiency(
        params_total=counts.total,
        params_embedding=counts.embedding,
        params_nonembedding=counts.nonembedding,
        params_nonzero=counts.nonzero,
        density=counts.density,
        macs=count_macs(model, pixels, start, tokens),
        size_dense_bytes=dense_bytes(model),
        size_packed_bytes=packed_bytes(model),
        latency_ms_p50=fixed.p50,
        latency_ms_p95=fixed.p95,
        latency_natural_ms_p50=natural.p50,
        latency_natural_ms_p95=natural.p95,
        peak_memory_bytes=peak,
    )
