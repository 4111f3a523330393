"""The leaderboard: the rows of each setting by N-TED accuracy, ranked where they can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.report.against import Teds
from benchmark.report.calibration import calibration_lines, redrawn
from benchmark.report.columns import (
    F1,
    MILLION,
    NONZERO,
    PACKED,
    TED,
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
from benchmark.report.differences import differences_table
from benchmark.report.documents import documents_name, scatters
from benchmark.report.drawing import image
from benchmark.report.figures import figure_name, has_curves
from benchmark.report.fronts import families, has_front, has_standings
from benchmark.report.heatmaps import has_heatmaps, heatmaps_name
from benchmark.report.latency import FLAG, LATENCY, PARTS, control_sentence, not_faster
from benchmark.report.pareto import pareto_name
from benchmark.report.ranking import Ranking, rank, rankings
from benchmark.report.rows import Row, Setting, by_setting, distinct, efficiency, metric, principal
from benchmark.report.seeds import seeds_sentence
from benchmark.report.shifted import shifted_columns, shifted_sentence
from benchmark.report.sparsity import cliff_sentences, cliffs, sparsity_name
from benchmark.report.tables import about_test

_PROTOCOLS = {
    "paper": "the strategy makes its model on the reading set, and that model is fine-tuned on the task",
    "task": "the strategy is applied to the task's own teacher and trained on the task only",
}


_COMPARED = [
    "Under a table stand the differences in ted of its rows on the same documents, each with the 95 % interval of a "
    "paired bootstrap: over documents, and over the checkpoints of rows that have several. Of one checkpoint it does "
    "not say what another seed would give. A star marks those that are decisive: p < 0.05 after Holm's correction for "
    "the rows of its column. A rank is one more than the number of rows that are decisively better, corrected for all "
    "pairs of ranked rows: rows that share a rank are not told apart.",
    "",
]


def leaderboard_markdown(records: Sequence[Record], teds: Teds | None = None) -> str:
    """The text of ``leaderboard.md``; with the `teds` of documents rows are compared on the same documents."""
    settings = by_setting(records)
    drawn, related, repeated = principal(settings), families(records), redrawn(records)
    scales = distinct(setting.scale for setting in settings)
    protocols = {setting.protocol for setting in settings}
    budgets = distinct(setting.budget for setting in settings)
    lines = ["# Leaderboard", "", f"Scale {scales}; protocol {distinct(protocols)}; budget {budgets}.", ""]
    lines += [f"- protocol {name}: {way}" for name, way in _PROTOCOLS.items() if name in protocols]
    lines += ["", *_environment(records), *_how_to_read()]
    lines += _COMPARED if teds else []
    for setting, rows in settings.items():
        lines += _section(setting, rows, teds or {})
        lines += calibration_lines(repeated.get(setting, ()))
        if setting in drawn:
            lines += _figures(setting, rows, related[setting._replace(options=())], teds or {})
    return "\n".join(lines)


def leaderboard_frame(records: Sequence[Record], dataset: str, teds: Teds | None = None) -> pd.DataFrame:
    """One data set's leaderboard as text, in the order of its lines, for printing.

    Has the column `rank` if a setting has ranks, and one for each part of the setting (`scale`, `budget`, `options`,
    ...) in which the lines differ. Raises `UserError` if there is no record of `dataset`.
    """
    settings = {setting: ranking for setting, ranking in rankings(records, teds).items() if setting.dataset == dataset}
    if not settings:
        raise UserError(f"no records of the data set {dataset!r}")
    ranked = any(ranking.ranks for ranking in settings.values())
    frames = []
    for setting, ranking in settings.items():
        frame = text_frame(_columns(ranking, ranked), ranking.rows)
        parts = [part for part in Setting._fields if len({getattr(other, part) for other in settings}) > 1]
        for place, part in enumerate(parts):
            frame.insert(place, part, setting.text(part))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _section(setting: Setting, rows: list[Row], teds: Teds) -> list[str]:
    stands_for = rows[0].records[0].stands_for
    ranking = rank(rows, teds)
    return [
        f"## {escaped(setting.title)}",
        "",
        (f"{setting.dataset} stands for {stands_for}. " if stands_for else "") + about_test(rows),
        *_said(ranking.teacher),
        *_said(seeds_sentence(rows)),
        *_noise(ranking),
        *_said(ranking.why_unranked),
        *_said(ranking.undecided),
        "",
        markdown_table(_columns(ranking, bool(ranking.ranks)), ranking.rows),
        "",
        *differences_table(ranking),
        *_said(ranking.why_apart, ""),
        *_said(control_sentence(rows), ""),
        *_said(shifted_sentence(rows), ""),
        *repeat_list(rows),
        *failure_list(rows),
    ]


def _figures(setting: Setting, rows: Sequence[Row], family: Sequence[Row], teds: Teds) -> list[str]:
    """Each with what is to be said of it; `family` are the rows that differ in their options alone."""
    found, dataset = [], setting.dataset
    if has_front(family):
        found += [image(f"Score against cost on {dataset}", pareto_name(setting)), ""]
        sure = has_standings(family, teds)
        found += ["How sure the front is stands in [tables/front.md](tables/front.md).", ""] if sure else []
    if has_curves(rows):
        found += [image(f"Validation curves of {dataset}", figure_name(dataset)), ""]
    if scatters(rows, teds):
        found += [image(f"N-TED accuracy of each document of {dataset}", documents_name(setting)), ""]
    if has_heatmaps(setting, rows):
        found += [image(f"CKA of every layer with every layer of the teacher, {dataset}", heatmaps_name(setting)), ""]
    lines = cliffs(family, teds)
    if lines:
        found += [image(f"Score against sparsity on {dataset}", sparsity_name(setting)), ""]
        found += [*cliff_sentences(lines), ""]
    return found


def _said(sentence: str, *after: str) -> list[str]:
    """The sentence and the lines after it; nothing if there is none."""
    return [sentence, *after] if sentence else []


def _columns(ranking: Ranking, ranked: bool) -> tuple[Column[Row], ...]:
    ranks = ranking.ranks
    place: Column[Row] = Text("rank", "rank", lambda row: ranks.get(row.strategy), "right")
    return (
        *([place] if ranked else []),
        Text("strategy", "strategy", lambda row: row.strategy + ranking.remark(row)),
        TED,
        *([Text("ted_interval", "ted, 95 %", partial(_interval, ranking), "right")] if ranking.samples else []),
        F1,
        *shifted_columns(ranking.rows),
        Measured("cka", "cka", metric("cka")),
        Measured("params_nonembedding", "non-embedding (M)", efficiency("params_nonembedding", MILLION)),
        NONZERO,
        Measured("density", "density", efficiency("density")),
        PACKED,
        *LATENCY,
        *([FLAG] if any(map(not_faster, ranking.rows)) else []),
        *PARTS,
        Measured("macs", "MACs (M)", efficiency("macs", MILLION)),
        Text("start_documents", "documents of the start", _each(lambda record: record.start_documents), "right"),
        Text("documents", "documents trained on", _each(lambda record: record.documents), "right"),
        Text("rate", "rate", _each(lambda record: record.rate, "g"), "right"),
        Seeds(),
        Text("start", "start", lambda row: row.start),
    )


def _each(get: Callable[[Record], float | None], form: str = ",") -> Callable[[Row], str]:
    """The different numbers of a row's measured records: what was given to them, not measured, has no spread."""

    def text(row: Row) -> str:
        numbers = {value for record in row.scored if (value := get(record)) is not None}
        return " or ".join(f"{number:{form}}" for number in sorted(numbers))

    return text


def _environment(records: Sequence[Record]) -> list[str]:
    names = sorted({name for record in records for name in record.environment})
    known = [record.environment for record in records]
    lines = [f"- {name}: {distinct(found[name] for found in known if name in found)}" for name in names]
    return ["Hardware and versions:", "", *lines, ""] if lines else []


def _how_to_read() -> list[str]:
    return [
        "Rows are in the order of ted (N-TED accuracy) and ranked only among those of the same protocol that trained "
        "on the same number of documents, the largest such group of a section, and only where each of them has "
        "several seeds. The others stand below, marked and without a rank; a reference, and what equals it, stands "
        "above without one.",
        "",
        "f1 is the micro-averaged field F1, cka the similarity in the paper's form to the reading teacher or, on a "
        "task, to that task's own teacher, density the share of non-embedding weights that are not zero, packed the "
        "size with the zeros stored compactly. Latency and MACs are those of one document; the latency is first given "
        "as a ratio to the teacher's, timed in turns with it, with a 95 % interval; then for its encoder and decoder "
        "apart.",
        "",
    ]


def _noise(ranking: Ranking) -> list[str]:
    """What ± is, and what the test size allows."""
    rows = ranking.rows
    records = [record for row in rows for record in row.scored if record.test_documents]
    if not records:
        return []
    several = any(row.spread(TED.get) is not None for row in rows)
    why = "One checkpoint a row" if any(len(row.scored) > 1 for row in rows) else "One seed"
    spread = "± is the sample standard deviation over seeds." if several else f"{why}, so no error bars."
    documents, least = min(record.test_documents for record in records), ranking.detectable
    if least is None:
        # At 95 % a mean of n scores in [0, 1] errs by up to about 1/sqrt(n).
        error = f"±{1 / math.sqrt(documents):.3f} (1/√n, about 95 %)"
        noise = f"With {documents} documents the sampling error of a ted can reach {error}"
        return [f"{spread} {noise}, so smaller differences may be noise."]
    return [
        f"{spread} The smallest difference between two rows that {documents} documents and these seeds detect, in four "
        f"of five cases and before the correction for the number of rows, is about {least:.3f}."
    ]


def _interval(ranking: Ranking, row: Row) -> str:
    sample = ranking.samples.get(row.strategy)
    return "[{:.3f}, {:.3f}]".format(*sample.interval) if sample else ""
