"""Score against cost: what each row keeps of the teacher's, one PNG a data set and protocol.

A strategy that was run with several numbers for an option, as by ``--sweep ratio=2,4,8``, is a line through its points;
with other words for one (``importance=random``) it is a line of its own, broken and hollow.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.records.record import Record
from benchmark.report.drawing import MARKERS, Look, looks_of, picture, write_picture
from benchmark.report.latency import latency_ratio
from benchmark.report.rows import Get, Row, Setting, by_setting, efficiency, metric

_COSTS = {
    "non-embedding weights that are not zero": efficiency("params_nonzero"),
    "multiply-accumulates": efficiency("macs"),
    "latency of 64 tokens": latency_ratio,
}
_TED = metric("ted")
_VARIANTS = (":", "-.", "--")


class Line(NamedTuple):
    """A strategy, and those of its options that are words."""

    strategy: str
    words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return " ".join([self.strategy, *self.words])


Points = dict[Line, list[tuple[float, float]]]
"""(share of the teacher's cost, N-TED accuracy) along each line, the cheapest first."""


def write_tradeoffs(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``figures/tradeoff-<data set>-...png`` for each group of settings with a teacher and other rows.

    Settings that differ in their options alone share a figure. Raises `UserError` if a file cannot be written.
    """
    paths = []
    for family, rows in _families(records).items():
        if has_tradeoff(rows):
            paths += _write(directory, family, rows, looks_of(records))
    return paths


def has_tradeoff(rows: Sequence[Row]) -> bool:
    """Whether there is more than the teacher to be drawn."""
    return any(len(points(rows, cost)) > 1 for cost in _COSTS.values())


def tradeoff_name(setting: Setting) -> str:
    """Of the figure that the rows of a setting are in: its options are the only thing that it may share."""
    parts = [setting.dataset, setting.scale, setting.protocol, setting.budget, str(setting.test_documents)]
    parts += [] if setting.limit is None else [f"limit{setting.limit}"]
    return f"tradeoff-{'-'.join([*parts, setting.device])}"


def points(rows: Sequence[Row], cost: Get) -> Points:
    """Where each row lies, as a share of the teacher's cost; nothing if that is not known."""
    teacher = (row.mean(cost) for row in rows if row.reference)
    # The ratio is a share of the teacher's as it was measured.
    whole = 1.0 if cost is latency_ratio else next(filter(None, teacher), None)
    found: Points = {}
    for row in rows:
        own, score = row.mean(cost), row.mean(_TED)
        if whole and own is not None and score is not None:
            found.setdefault(_line(row), []).append((own / whole, score))
    return {line: sorted(set(own)) for line, own in found.items()}


def _line(row: Row) -> Line:
    options = sorted(row.records[0].options.items())
    return Line(row.strategy, tuple(f"{name}={value}" for name, value in options if not _is_number(value)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _families(records: Sequence[Record]) -> dict[Setting, list[Row]]:
    families: dict[Setting, list[Row]] = {}
    for setting, rows in by_setting(records).items():
        families.setdefault(setting._replace(options=()), []).extend(rows)
    return families


def _write(directory: Path, family: Setting, rows: Sequence[Row], looks: dict[str, Look]) -> list[Path]:
    with picture(len(_COSTS), width=4.5) as drawn:
        for panel, (cost, get) in zip(drawn.panels, _COSTS.items(), strict=True):
            found = points(rows, get)
            variants = sorted(line for line in found if line.words)
            for line, own in found.items():
                costs, scores = zip(*own, strict=True)
                like = [other for other in variants if other.strategy == line.strategy]
                number = like.index(line) if line.words else None
                panel.plot(costs, scores, label=line.label, **_style(looks[line.strategy], number, len(own)))
            panel.set_xlabel(f"{cost} (x teacher)")
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_formatter("{x:g}")
            panel.grid(alpha=0.3)
        drawn.panels[0].set_ylabel("N-TED accuracy")
        drawn.panels[0].set_ylim(-0.02, 1.02)
        drawn.panels[len(_COSTS) // 2].set_title(textwrap.fill(family.title, 90), parse_math=False)
        drawn.legend("right")
        return write_picture(directory, tradeoff_name(family), drawn.figure)


def _style(look: Look, variant: int | None, points: int) -> dict[str, Any]:
    """`variant` counts the lines of one strategy that have words; None is the one without."""
    style = look.options
    if variant is not None:
        style |= {"markerfacecolor": "none", "linestyle": _VARIANTS[variant % len(_VARIANTS)]}
        style |= {"marker": MARKERS[(MARKERS.index(look.marker) + variant) % len(MARKERS)]}
    return style | ({"linestyle": "none"} if points == 1 else {})
