"""The leaderboard: the rows of each data set, ranked by N-TED accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from benchmark.errors import UserError
from benchmark.report.columns import Column, Measured, Seeds, Text, failure_list, markdown_table, text_frame
from benchmark.report.figures import figure_name, has_curves
from benchmark.report.rows import Row, Setting, by_setting, distinct, efficiency, metric
from benchmark.report.tables import MILLION, about_test
from benchmark.results import Record

_TED = metric("ted")


def leaderboard_markdown(records: Sequence[Record]) -> str:
    """The text of ``leaderboard.md``."""
    settings = by_setting(records)
    scales = distinct(setting.scale for setting in settings)
    budgets = distinct(setting.budget for setting in settings)
    lines = ["# Leaderboard", "", f"Scale {scales}, budget {budgets}.", ""]
    lines += [*_environment(records), *_how_to_read()]
    for setting, rows in settings.items():
        lines += _section(setting, rows)
    return "\n".join(lines)


def leaderboard_frame(records: Sequence[Record], dataset: str) -> pd.DataFrame:
    """One data set's leaderboard as text, in the order of rank, for printing.

    Has the columns `scale` and `budget` too if there are several of them. Raises `UserError` if there is no
    record of `dataset`.
    """
    settings = {setting: rows for setting, rows in by_setting(records).items() if setting.dataset == dataset}
    if not settings:
        raise UserError(f"no records of the data set {dataset!r}")
    frames = {setting: text_frame(_columns(rows), _ranked(rows)) for setting, rows in settings.items()}
    if len(frames) > 1:
        for setting, frame in frames.items():
            frame.insert(0, "scale", setting.scale)
            frame.insert(1, "budget", setting.budget)
    return pd.concat(frames.values(), ignore_index=True)


def _section(setting: Setting, rows: list[Row]) -> list[str]:
    stands_for = rows[0].records[0].stands_for
    lines = [
        f"## {setting.dataset}" + (f", which stands for {stands_for}" if stands_for else ""),
        "",
        f"Scale {setting.scale}, budget {setting.budget}. {about_test(rows)}",
        *_noise(rows),
        "",
        markdown_table(_columns(rows), _ranked(rows)),
        "",
        *failure_list(rows),
    ]
    if has_curves(rows):
        lines += [f"![Validation curves of {setting.dataset}](figures/{figure_name(setting.dataset)})", ""]
    return lines


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    ranks = _ranks(rows)
    return (
        Text("rank", "rank", lambda row: ranks.get(row.strategy), "right"),
        Text("strategy", "strategy", lambda row: row.strategy + (" (reference)" if row.reference else "")),
        Measured("ted", "ted", _TED),
        Measured("f1", "f1", metric("f1")),
        Measured("cka", "cka", metric("cka")),
        Measured("params_nonembedding", "non-embedding (M)", efficiency("params_nonembedding", MILLION)),
        Measured("params_nonzero", "nonzero (M)", efficiency("params_nonzero", MILLION)),
        Measured("density", "density", efficiency("density")),
        Measured("size_packed", "packed (MB)", efficiency("size_packed_bytes", 1e6)),
        Measured("latency_ms_p50", "latency p50 (ms)", efficiency("latency_ms_p50")),
        Measured("macs", "MACs (M)", efficiency("macs", MILLION)),
        Measured("documents", "documents trained on", lambda record: record.documents, digits=0),
        Seeds(),
        Text("start", "start", lambda row: row.start),
    )


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """References first, then by score; failed rows last. Keeps the order of equals."""
    return sorted(rows, key=lambda row: (not row.reference, -_score(row)))


def _ranks(rows: Sequence[Row]) -> dict[str, str]:
    """The rank of each strategy that has one; rows that print the same score share it."""
    scores = {row.strategy: _score(row) for row in rows if row.measured and not row.reference}
    return {name: str(1 + sum(other > score for other in scores.values())) for name, score in scores.items()}


def _score(row: Row) -> float:
    mean = row.mean(_TED)
    return -math.inf if mean is None else round(mean, 3)


def _environment(records: Sequence[Record]) -> list[str]:
    names = sorted({name for record in records for name in record.environment})
    known = [record.environment for record in records]
    lines = [f"- {name}: {distinct(found[name] for found in known if name in found)}" for name in names]
    return ["Hardware and versions:", "", *lines, ""] if lines else []


def _how_to_read() -> list[str]:
    return [
        "Rows are ranked by ted (N-TED accuracy); a reference row is not ranked. f1 is the micro-averaged "
        "field F1, cka the similarity in the paper's form to the reading teacher or, on a task, to that task's "
        "own teacher, density the share of non-embedding weights that are not zero, packed the size with the "
        "zeros stored compactly. Latency and MACs are those of one document.",
        "",
    ]


def _noise(rows: Sequence[Row]) -> list[str]:
    """What the test size allows: at 95 % a mean of n scores in [0, 1] errs by up to about 1/sqrt(n)."""
    records = [record for row in rows for record in row.measured if record.test_documents]
    if not records:
        return []
    documents = min(record.test_documents for record in records)
    several = any(len(row.measured) > 1 for row in rows)
    spread = "± is the sample standard deviation over seeds. " if several else "One seed, so no error bars. "
    return [
        f"{spread}No confidence intervals are computed yet: with {documents} documents the sampling error of "
        f"a ted can reach ±{1 / math.sqrt(documents):.3f} (1/√n, about 95 %), so smaller differences may be "
        "noise."
    ]
