"""The leaderboard: the rows of each setting by N-TED accuracy, ranked where every row has several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.report.columns import (
    Column,
    Measured,
    Seeds,
    Text,
    escaped,
    failure_list,
    markdown_table,
    repeat_list,
    text_frame,
)
from benchmark.report.figures import figure_name, has_curves
from benchmark.report.rows import Row, Setting, by_setting, distinct, efficiency, metric
from benchmark.report.tables import MILLION, about_test

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
    """One data set's leaderboard as text, in the order of its lines, for printing.

    Has the column `rank` if a setting has ranks, and one for each part of the setting (`scale`, `budget`, `options`,
    ...) in which the lines differ. Raises `UserError` if there is no record of `dataset`.
    """
    settings = {setting: rows for setting, rows in by_setting(records).items() if setting.dataset == dataset}
    if not settings:
        raise UserError(f"no records of the data set {dataset!r}")
    ranked = any(_ranks(rows) for rows in settings.values())
    frames = []
    for setting, rows in settings.items():
        frame = text_frame(_columns(rows, ranked), _ordered(rows))
        parts = [part for part in Setting._fields if len({getattr(other, part) for other in settings}) > 1]
        for place, part in enumerate(parts):
            frame.insert(place, part, setting.text(part))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _section(setting: Setting, rows: list[Row]) -> list[str]:
    stands_for = rows[0].records[0].stands_for
    lines = [
        f"## {escaped(setting.title)}",
        "",
        (f"{setting.dataset} stands for {stands_for}. " if stands_for else "") + about_test(rows),
        *_noise(rows),
        *_why_unranked(rows),
        "",
        markdown_table(_columns(rows, bool(_ranks(rows))), _ordered(rows)),
        "",
        *repeat_list(rows),
        *failure_list(rows),
    ]
    if has_curves(rows):
        lines += [f"![Validation curves of {setting.dataset}](figures/{figure_name(setting.dataset)})", ""]
    return lines


def _columns(rows: Sequence[Row], ranked: bool) -> tuple[Column, ...]:
    ranks = _ranks(rows)
    rank = Text("rank", "rank", lambda row: ranks.get(row.strategy), "right")
    return (
        *([rank] if ranked else []),
        Text("strategy", "strategy", lambda row: row.strategy + _remark(row, rows)),
        Measured("ted", "ted", _TED),
        Measured("f1", "f1", metric("f1")),
        Measured("cka", "cka", metric("cka")),
        Measured("params_nonembedding", "non-embedding (M)", efficiency("params_nonembedding", MILLION)),
        Measured("params_nonzero", "nonzero (M)", efficiency("params_nonzero", MILLION)),
        Measured("density", "density", efficiency("density")),
        Measured("size_packed", "packed (MB)", efficiency("size_packed_bytes", 1e6)),
        Measured("latency_ms_p50", "latency p50 (ms)", efficiency("latency_ms_p50")),
        Measured("macs", "MACs (M)", efficiency("macs", MILLION)),
        Measured("documents", "documents trained on", _documents, digits=0),
        Text("rate", "rate", _rates, "right"),
        Seeds(),
        Text("start", "start", lambda row: row.start),
    )


def _documents(record: Record) -> float | None:
    """Of its start and of its own training; None where an old record does not say what its start has seen."""
    return None if record.start_documents is None else record.start_documents + record.documents


def _rates(row: Row) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted({record.rate for record in row.records if record.rate is not None}))


def _remark(row: Row, rows: Sequence[Row]) -> str:
    same = _same_as(row, rows)
    return " (reference)" if row.reference else f" (= {same})" if same else ""


def _same_as(row: Row, rows: Sequence[Row]) -> str | None:
    """The reference whose very checkpoint a row is."""
    hashes = {record.model_hash for record in row.measured}
    if row.reference or not hashes:
        return None
    references = (other for other in rows if other.reference)
    known = ((other.strategy, {record.model_hash for record in other.measured} - {None}) for other in references)
    return next((strategy for strategy, theirs in known if hashes <= theirs), None)


def _competing(rows: Sequence[Row]) -> list[Row]:
    """The rows that can have a rank."""
    return [row for row in rows if row.measured and not row.reference and not _same_as(row, rows)]


def _seedless(rows: Sequence[Row]) -> list[str]:
    """The strategies of which nobody knows what another seed would give."""
    return [row.strategy for row in _competing(rows) if len(row.distinct) < 2 and not row.deterministic]


def _why_unranked(rows: Sequence[Row]) -> list[str]:
    """One sentence on why rows have no ranks; nothing if they have."""
    lacking = _seedless(rows)
    if not lacking:
        return []
    names = "each row" if len(lacking) == len(_competing(rows)) else ", ".join(lacking)
    return [f"No ranks: another seed can turn the order, and of {names} there is only one checkpoint."]


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """References first and what equals them, then by score; failed rows last. Keeps the order of equals."""
    return sorted(rows, key=lambda row: (not row.reference, not _same_as(row, rows), -_score(row)))


def _ranks(rows: Sequence[Row]) -> dict[str, str]:
    """The rank of each strategy, or none at all while a row lacks seeds; what prints the same score shares a rank."""
    if _seedless(rows):
        return {}
    scores = {row.strategy: _score(row) for row in _competing(rows)}
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
        "Rows are in the order of ted (N-TED accuracy), and ranked where each has several seeds; a reference row is "
        "not ranked. f1 is the micro-averaged field F1, cka the similarity in the paper's form to the reading teacher "
        "or, on a task, to that task's own teacher, density the share of non-embedding weights that are not zero, "
        "packed the size with the zeros stored compactly. Latency and MACs are those of one document.",
        "",
    ]


def _noise(rows: Sequence[Row]) -> list[str]:
    """What the test size allows: at 95 % a mean of n scores in [0, 1] errs by up to about 1/sqrt(n)."""
    records = [record for row in rows for record in row.measured if record.test_documents]
    if not records:
        return []
    documents = min(record.test_documents for record in records)
    several = any(row.spread(_TED) is not None for row in rows)
    why = "One checkpoint a row" if any(len(row.measured) > 1 for row in rows) else "One seed"
    spread = "± is the sample standard deviation over seeds. " if several else f"{why}, so no error bars. "
    return [
        f"{spread}No confidence intervals are computed yet: with {documents} documents the sampling error of "
        f"a ted can reach ±{1 / math.sqrt(documents):.3f} (1/√n, about 95 %), so smaller differences may be "
        "noise."
    ]
