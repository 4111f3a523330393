"""What strategies' models cost at a scale: the page of ``costs.json``, and the table of it for a README."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmark.records.files import write_atomically
from benchmark.records.record import Efficiency, Interval
from benchmark.records.sizes import Sized, Sizes
from benchmark.report import paper
from benchmark.report.columns import Column, Text, escaped, markdown, markdown_table, number, with_text
from benchmark.report.latency import FLAG, PARTS, RATIO, SPARSE, Spanned, with_interval

_M, _G = 1e6, 1e9
_PAPER = "paper"
_NOTE = (
    "Costs do not ask what a model has learnt: each strategy's start is applied once, and its model reads a blank page "
    "and writes {tokens} tokens, one document at a time{where}, all models in turns with the teacher. Latency "
    "is the median of {rounds} rounds, in brackets an interval that holds the true one with 95 %. Multiply-accumulates "
    "are those of a dense kernel. Packed is the file with zeros left out: values and a bit a weight. Peak memory is "
    "{memory}."
)
_RESIDENT = "what a process of its own grows by that loads the model and reads the page"
_TENSORS = "that of the weights and of what operators hold beside them"
_THREAD = " on one thread"
_RANDOM = "Weights are random: no checkpoint of this size is here, and nothing on this page depends on their values."


def sizes_markdown(sizes: Sizes) -> str:
    """The text of ``costs.md``."""
    lines = [f"# What compression gives at scale {escaped(sizes.scale)}", "", *_about(sizes), ""]
    lines += [_table(sizes, _COLUMNS), "", *_control(sizes), *_failures(sizes)]
    if sizes.scale.partition("-")[0] == _PAPER and (table := _table_1(sizes.rows)):
        lines += ["## Table 1 of the paper", "", _TABLE_1, "", table, ""]
    return "\n".join(lines)


def sizes_summary(sizes: Sizes, directory: str) -> str:
    """What a README says of it."""
    height, width = sizes.page
    return "\n\n".join(
        [
            f"Reading one {height}x{width} page and writing {sizes.tokens} tokens"
            f"{f'{_THREAD} of' if sizes.device == 'cpu' else ' on'} "
            f"{escaped(str(sizes.environment['device']))}; {_weights(sizes)} "
            f"([all costs]({directory}/costs.md)):",
            _table(sizes, [column for column in _COLUMNS if column.heading in _SUMMARY]),
            *(line for line in _control(sizes) if line),
        ]
    )


def write_sizes_page(directory: Path, sizes: Sizes) -> Path:
    """Write ``costs.md``. Raises `OutputError`."""
    path = directory / "costs.md"
    write_atomically(path, sizes_markdown(sizes).encode())
    return path


def _about(sizes: Sizes) -> Iterator[str]:
    rounds = next((row.efficiency.latency_rounds for row in sizes.rows if row.efficiency), None)
    height, width = sizes.page
    machine = ", ".join(f"{name} {value}" for name, value in sizes.environment.items())
    memory = _RESIDENT if any(r.efficiency and r.efficiency.peak_resident_bytes for r in sizes.rows) else _TENSORS
    where = _THREAD if sizes.device == "cpu" else ""
    note = _NOTE.format(tokens=sizes.tokens, rounds=rounds, memory=memory, where=where)
    yield f"Pages of {height}x{width}. {note}"
    yield ""
    yield _RANDOM if sizes.weights is None else f"Weights are those of {escaped(sizes.weights)}."
    yield ""
    yield f"Measured on {sizes.device}: {escaped(machine)}."


def _weights(sizes: Sizes) -> str:
    return "weights are random" if sizes.weights is None else f"weights are those of {escaped(sizes.weights)}"


def _count(heading: str, digits: int, unit: float, get: Callable[[Efficiency], float | None]) -> Text[Sized]:
    def text(row: Sized) -> str | None:
        value = None if row.efficiency is None else get(row.efficiency)
        return None if value is None else number(value / unit, digits)

    return Text(heading, heading, text, "right")


def _seconds(costs: Efficiency) -> Interval | None:
    if "whole" not in costs.timings:
        return None
    found = costs.timings["whole"].p50
    low, high = (None if end is None else end / 1000 for end in (found.low, found.high))
    return Interval(value=found.value / 1000, low=low, high=high)


def _decoder_macs(costs: Efficiency) -> float | None:
    return None if costs.macs is None or costs.macs_encoder is None else costs.macs - costs.macs_encoder


_COLUMNS: tuple[Column[Sized], ...] = (
    Text("strategies", "strategies", lambda row: ", ".join(row.strategies)),
    _count("weights (M)", 1, _M, lambda costs: costs.params_total),
    _count("non-embedding (M)", 1, _M, lambda costs: costs.params_nonembedding),
    _count("nonzero (M)", 1, _M, lambda costs: costs.params_nonzero),
    _count("encoder MACs (G)", 1, _G, lambda costs: costs.macs_encoder),
    _count("decoder MACs (G)", 1, _G, _decoder_macs),
    _count("dense (MB)", 0, _M, lambda costs: costs.size_dense_bytes),
    _count("packed (MB)", 0, _M, lambda costs: costs.size_packed_bytes),
    _count("packed / dense", 2, 1, lambda costs: costs.size_packed_bytes / costs.size_dense_bytes),
    _count("peak memory (MB)", 0, _M, lambda costs: costs.peak_resident_bytes or costs.peak_memory_bytes),
    Spanned("latency_s", "latency (s)", _seconds),
    RATIO,
    *PARTS,
    FLAG,
)
_SUMMARY = (
    "strategies",
    "weights (M)",
    "nonzero (M)",
    "encoder MACs (G)",
    "decoder MACs (G)",
    "packed (MB)",
    "latency (s)",
    "latency (x teacher)",
)


def _table(sizes: Sizes, columns: Sequence[Column[Sized]]) -> str:
    rows = sorted((row for row in sizes.rows if row.efficiency), key=_place)
    return markdown_table(with_text(columns, rows), rows)


def _place(row: Sized) -> tuple[bool, float, float]:
    """References first, then the most work."""
    assert row.efficiency is not None
    return not row.reference, -(row.efficiency.macs or 0), -row.efficiency.size_packed_bytes


def _control(sizes: Sizes) -> Iterator[str]:
    costs = next((row.efficiency for row in sizes.rows if row.efficiency and row.efficiency.latency_control), None)
    if costs is not None and costs.latency_control is not None:
        own = with_interval(costs.latency_control, costs.latency_control_low, costs.latency_control_high)
        yield f"The teacher timed against itself: {own}."
        yield ""


def _failures(sizes: Sizes) -> Iterator[str]:
    failed = [row for row in sizes.rows if row.error is not None]
    yield from (f"- {', '.join(row.strategies)}: {escaped(str(row.error))}" for row in failed)
    if failed:
        yield ""


_TABLE_1 = (
    "In millions of weights; a pruned weight is counted as absent. Embedding is the table of tokens, which the head "
    "shares; the total has the table of positions too."
)


def _table_1(rows: Sequence[Sized]) -> str | None:
    """Ours beside reported, for the configurations that are among the rows."""
    cells = []
    for name, reported in paper.PARAMETERS.items():
        row = next((row for row in rows if name in {paper.CONFIGURATIONS.get(own) for own in row.paper_names}), None)
        if row is not None and (counts := table_1_counts(row)) is not None:
            printed = (reported.nonembedding, reported.embedding, reported.total)
            pairs = zip(counts, printed, strict=True)
            cells.append([name, *(text for own, theirs in pairs for text in (number(own / _M, 1), str(theirs)))])
    titles = ("non-embedding", "embedding", "total")
    heading = ["system", *(f"{title} *{kind}*" for title in titles for kind in ("measured", "reported"))]
    frame = pd.DataFrame(cells, columns=heading, dtype=object)
    return markdown(frame, ["left", *["right"] * 6]) if cells else None


def table_1_counts(row: Sized) -> tuple[int, int, int] | None:
    """Non-embedding weights without those that were pruned, the table of tokens, and all; None if it failed."""
    costs = row.efficiency
    if costs is None or row.token_table is None:
        return None
    # Biases of random weights are zeros that nobody has pruned.
    left = costs.params_nonzero if costs.density < SPARSE else costs.params_nonembedding
    return left, row.token_table, left + costs.params_embedding
