"""The leaderboard: the rows of each setting by N-TED accuracy, ranked where they can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.report.against import Teds, against
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
from benchmark.report.documents import documents_name, scatters
from benchmark.report.drawing import image
from benchmark.report.figures import figure_name, has_curves
from benchmark.report.fronts import families, has_front, has_standings
from benchmark.report.latency import LATENCY, PARTS, control_sentence
from benchmark.report.pareto import pareto_name
from benchmark.report.ranking import Ranking, rank, rankings
from benchmark.report.rows import Row, Setting, by_setting, distinct, efficiency, metric, principal
from benchmark.report.seeds import seeds_sentence
from benchmark.report.sparsity import cliff_sentences, cliffs, sparsity_name
from benchmark.report.tables import about_test

_PROTOCOLS = {
    "paper": "the strategy makes its model on the reading set, and that model is fine-tuned on the task",
    "task": "the strategy is applied to the task's own teacher and trained on the task only",
}


_COMPARED = [
    "Beside ted stands its difference to that of the paper's own method on the same documents, with a 95 % interval of "
    "a paired bootstrap: over documents, and over the checkpoints of rows that have several. Of one checkpoint it does "
    "not say what another seed would give.",
    "",
]


def leaderboard_markdown(records: Sequence[Record], teds: Teds | None = None) -> str:
    """The text of ``leaderboard.md``; with the `teds` of documents rows are compared on the same documents."""
    settings = by_setting(records)
    drawn, related = principal(settings), families(records)
    scales = distinct(setting.scale for setting in settings)
    protocols = {setting.protocol for setting in settings}
    budgets = distinct(setting.budget for setting in settings)
    lines = ["# Leaderboard", "", f"Scale {scales}; protocol {distinct(protocols)}; budget {budgets}.", ""]
    lines += [f"- protocol {name}: {way}" for name, way in _PROTOCOLS.items() if name in protocols]
    lines += ["", *_environment(records), *_how_to_read()]
    lines += _COMPARED if teds else []
    for setting, rows in settings.items():
        lines += _section(setting, rows, teds or {})
        if setting in drawn:
            lines += _figures(setting, rows, related[setting._replace(options=())], teds or {})
    return "\n".join(lines)


def leaderboard_frame(records: Sequence[Record], dataset: str) -> pd.DataFrame:
    """One data set's leaderboard as text, in the order of its lines, for printing.

    Has the column `rank` if a setting has ranks, and one for each part of the setting (`scale`, `budget`, `options`,
    ...) in which the lines differ. Raises `UserError` if there is no record of `dataset`.
    """
    settings = {setting: ranking for setting, ranking in rankings(records).items() if setting.dataset == dataset}
    if not settings:
        raise UserError(f"no records of the data set {dataset!r}")
    ranked = any(ranking.ranks for ranking in settings.values())
    frames = []
    for setting, ranking in settings.items():
        frame = text_frame(_columns(ranking, ranked, {}), ranking.rows)
        parts = [part for part in Setting._fields if len({getattr(other, part) for other in settings}) > 1]
        for place, part in enumerate(parts):
            frame.insert(place, part, setting.text(part))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _section(setting: Setting, rows: list[Row], teds: Teds) -> list[str]:
    stands_for = rows[0].records[0].stands_for
    ranking = rank(rows)
    return [
        f"## {escaped(setting.title)}",
        "",
        (f"{setting.dataset} stands for {stands_for}. " if stands_for else "") + about_test(rows),
        *_said(ranking.teacher),
        *_said(seeds_sentence(rows)),
        *_noise(rows),
        *_said(ranking.why_unranked),
        "",
        markdown_table(_columns(ranking, bool(ranking.ranks), teds), ranking.rows),
        "",
        *_said(ranking.why_apart, ""),
        *_said(control_sentence(rows), ""),
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
    lines = cliffs(family, teds)
    if lines:
        found += [image(f"Score against sparsity on {dataset}", sparsity_name(setting)), ""]
        found += [*cliff_sentences(lines), ""]
    return found


def _said(sentence: str, *after: str) -> list[str]:
    """The sentence and the lines after it; nothing if there is none."""
    return [sentence, *after] if sentence else []


def _columns(ranking: Ranking, ranked: bool, teds: Teds) -> tuple[Column, ...]:
    ranks = ranking.ranks
    place = Text("rank", "rank", lambda row: ranks.get(row.strategy), "right")
    return (
        *([place] if ranked else []),
        Text("strategy", "strategy", lambda row: row.strategy + ranking.remark(row)),
        TED,
        *against(ranking.rows, teds),
        F1,
        Measured("cka", "cka", metric("cka")),
        Measured("params_nonembedding", "non-embedding (M)", efficiency("params_nonembedding", MILLION)),
        NONZERO,
        Measured("density", "density", efficiency("density")),
        PACKED,
        *LATENCY,
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


def _noise(rows: Sequence[Row]) -> list[str]:
    """What the test size allows: at 95 % a mean of n scores in [0, 1] errs by up to about 1/sqrt(n)."""
    records = [record for row in rows for record in row.scored if record.test_documents]
    if not records:
        return []
    documents = min(record.test_documents for record in records)
    several = any(row.spread(TED.get) is not None for row in rows)
    why = "One checkpoint a row" if any(len(row.scored) > 1 for row in rows) else "One seed"
    spread = "± is the sample standard deviation over seeds. " if several else f"{why}, so no error bars. "
    return [
        f"{spread}With {documents} documents the sampling error of a ted can reach "
        f"±{1 / math.sqrt(documents):.3f} (1/√n, about 95 %), so smaller differences may be noise."
    ]
