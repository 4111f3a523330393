"""What a compression claims beside what it gives: sparsity and MACs, and the file, the clock and the memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.columns import Column, Measured, Text, csv_text, escaped, markdown_table, with_text
from benchmark.report.latency import FLAG, RATIO, Spanned, control_sentence, timing_columns
from benchmark.report.rows import Get, Row, Setting, by_setting, efficiency
from benchmark.report.tables import setting_fields

_ABOUT = """\
Claimed: sparsity is the share of non-embedding weights that are zero, MACs those of a dense kernel, which multiplies \
zeros too. Real: the file with its zeros stored compactly, the clock, and memory. Shares and ratios are of the \
teacher's.

Times are those of one document, from the page on: of the whole, to the end of the encoder, to the first token, and of \
each token after it; each with an interval that holds the true quantile with 95 %, whatever the distribution. A row is \
flagged that is sparse and whose latency is not shown to be below the teacher's. Tensors are the weights and what \
operators hold beside them; resident is what a process of its own grows by that loads the model and reads one page."""
_NO_COUNTER = "Energy: not measured (no counter on this machine)."


def write_costs(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``tables/costs.md`` and ``.csv``. Raises `UserError` if that fails."""
    settings = by_setting(records)
    paths = [directory / "tables" / f"costs.{ending}" for ending in ("csv", "md")]
    for path, text in zip(paths, (costs_csv(settings), costs_markdown(settings)), strict=True):
        write_atomically(path, text.encode())
    return paths


def costs_markdown(settings: dict[Setting, list[Row]]) -> str:
    lines = ["# Costs: claimed and real", "", _ABOUT, ""]
    for setting, rows in settings.items():
        costs = [record.efficiency for row in rows for record in row.scored if record.efficiency is not None]
        if costs:
            sentences = [control_sentence(rows), "" if any(one.energy_mj for one in costs) else _NO_COUNTER]
            lines += [f"## {escaped(setting.title)}", "", markdown_table(with_text(_columns(rows), rows), rows), ""]
            lines += [" ".join(filter(None, sentences)), ""]
    return "\n".join(lines)


def costs_csv(settings: dict[Setting, list[Row]]) -> str:
    header = [*Setting._fields, *(name for column in _columns([]) for name in column.names)]
    fields = [
        [*setting_fields(setting), *(field for column in _columns(rows) for field in column.fields(row))]
        for setting, rows in settings.items()
        for row in rows
    ]
    return csv_text(fields, header)


def _columns(rows: Sequence[Row]) -> tuple[Column[Row], ...]:
    """Of a setting, whose teacher is what shares are taken of."""
    return (
        Text("strategy", "strategy", lambda row: row.strategy),
        Measured("sparsity", "sparsity", _sparsity),
        Measured("macs_share", "MACs (x teacher)", _share(rows, "macs")),
        Measured("packed_share", "packed file (x teacher)", _share(rows, "size_packed_bytes")),
        RATIO,
        FLAG,
        *timing_columns("whole", "whole")[:2],
        *timing_columns("encoder", "encoder"),
        *timing_columns("first_token", "first token"),
        *timing_columns("per_token", "per token"),
        Measured("peak_memory_mb", "peak tensors (MB)", efficiency("peak_memory_bytes", 1e6), digits=1),
        Measured("peak_resident_mb", "peak resident (MB)", efficiency("peak_resident_bytes", 1e6), digits=1),
        Spanned("energy_mj", "energy (mJ)", lambda costs: costs.energy_mj),
    )


def _sparsity(record: Record) -> float | None:
    return None if record.efficiency is None else 1 - record.efficiency.density


def _share(rows: Sequence[Row], name: str) -> Get:
    """A field of `Efficiency` as a share of the reference's; None where that is not known."""
    get = efficiency(name)
    whole = next((mean for row in rows if row.reference and (mean := row.mean(get))), None)

    def share(record: Record) -> float | None:
        own = get(record)
        return None if own is None or whole is None else own / whole

    return share
