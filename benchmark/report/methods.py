"""The methods, a line each: what is left of the model, how it reads alone and trained, and beside DONUT-hole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from benchmark.report.against import METHOD, Compared, Pair, Teds, compared
from benchmark.report.columns import PACKED, TED, escaped, markdown, number
from benchmark.report.latency import RATIO
from benchmark.report.ranking import rank
from benchmark.report.rows import Row, Setting

_TRAINED = "-distill"
_HEADER = ("method", "what it is", "alone", "trained", f"beside {METHOD}", "packed", "latency", "source")

Sections = Mapping[Setting, Sequence[Row]]
"""The rows of settings that differ in the data set."""


@dataclass(frozen=True, slots=True)
class _Method:
    """A technique: the row of its start `alone`, and that which is `trained` from there; at least one of them."""

    alone: str | None
    trained: str | None

    @property
    def name(self) -> str:
        return self.trained or self.alone or ""


def methods_table(sections: Sections, teds: Teds) -> list[str]:
    """Blocks of Markdown: a table of the methods, best first; nothing without a row that they stand beside.

    A start and the row that is distilled from it share a line. Rows are told apart as in the leaderboard: by a paired
    bootstrap, after Holm's correction for the rows of a data set.
    """
    rows = {setting: {row.strategy: row for row in of} for setting, of in sections.items()}
    other = next((row.strategy for of in sections.values() for row in of if row.paper_name == METHOD), None)
    if other is None:
        return []
    verdicts = {setting: _beside(other, of, teds) for setting, of in sections.items()}
    methods = sorted(_methods(rows), key=lambda method: _place(rows, method.name))
    lines = [_line(method, other, rows, verdicts) for method in methods]
    frame = pd.DataFrame(lines, columns=[*_HEADER], dtype=object)
    names = " / ".join(setting.dataset for setting in sections)
    said = (
        f"N-TED on {escaped(names)}, {escaped(next(iter(sections)).conditions)}: of what a method begins with, nothing "
        f"trained, and of what it is in the end. *Better* and *worse* than {METHOD} (`{other}`) are decisive "
        "differences on the same documents, anything else is not told apart; of a row of one seed that is said of the "
        "one checkpoint, and another seed can turn it. Bytes and time: shares of the teacher's."
    )
    return [said, markdown(frame, ["left", "left", "right", "right", "left", "right", "right", "left"])]


def _methods(rows: Mapping[Setting, Mapping[str, Row]]) -> Iterator[_Method]:
    """In the order of the rows; references are none."""
    every = {name: row for of in rows.values() for name, row in of.items() if not row.reference}
    trained = {name for name, row in every.items() if any(record.objective for record in row.records)}
    for name in every:
        pair = f"{name}{_TRAINED}"
        if name not in trained:
            yield _Method(name, pair if pair in trained else None)
        elif name.removesuffix(_TRAINED) not in every.keys() - trained:
            yield _Method(None, name)


def _beside(other: str, rows: Sequence[Row], teds: Teds) -> dict[str, Compared]:
    """How each row reads beside that one."""
    found = compared((Pair(row.strategy, other) for row in rows if not row.reference), rank(rows, teds).samples)
    return {pair.ours: one for pair, one in found.items()}


def _line(
    method: _Method,
    other: str,
    rows: Mapping[Setting, Mapping[str, Row]],
    verdicts: Mapping[Setting, Mapping[str, Compared]],
) -> list[str]:
    own = next(of for of in rows.values() if method.name in of)
    first, teacher = own[method.name], next((row for row in own.values() if row.reference), None)
    record = first.records[0]
    packed, whole = first.mean(PACKED.get), teacher and teacher.mean(PACKED.get)
    verdict = "what the others stand beside" if method.name == other else _verdict(method.name, verdicts)
    seeds = [len(of[method.name].scored) for of in rows.values() if method.name in of]
    if verdict and method.trained and method.name != other and min(seeds) < 2:
        verdict += ", one seed"
    return [
        method.name,
        record.summary,
        _scores(method.alone, rows),
        _scores(method.trained, rows),
        verdict,
        number(packed / whole, 2) if packed and whole else "",
        RATIO.text(first),
        record.paper,
    ]


def _scores(name: str | None, rows: Mapping[Setting, Mapping[str, Row]]) -> str:
    if name is None:
        return ""
    means = [row.mean(TED.get) if (row := of.get(name)) else None for of in rows.values()]
    return " / ".join("-" if mean is None else number(mean, 3) for mean in means)


def _verdict(name: str, verdicts: Mapping[Setting, Mapping[str, Compared]]) -> str:
    """Such as ``worse on receipts-mini (-0.026), not told apart on parcels-mini (+0.003)``."""
    found = [(setting.dataset, of[name]) for setting, of in verdicts.items() if name in of]
    return ", ".join(f"{_word(one)} on {dataset} ({one.difference.value:+.3f})" for dataset, one in found)


def _word(one: Compared) -> str:
    if not one.decisive:
        return "not told apart"
    return "better" if one.difference.value > 0 else "worse"


def _place(rows: Mapping[Setting, Mapping[str, Row]], name: str) -> tuple[bool, float]:
    """The best first, and those last that lack a score."""
    means = [mean for of in rows.values() if name in of and (mean := of[name].mean(TED.get)) is not None]
    return len(means) < len(rows), -fmean(means) if means else 0.0
