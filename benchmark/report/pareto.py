"""Score against cost as a figure, one a data set and protocol: the front, and what lies behind it.

A strategy that was run with several numbers for an option, as by ``--sweep ratio=2,4,8``, is a line through its points;
with other words for one (``importance=random``) it is a line of its own, broken and hollow.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.records.record import Record
from benchmark.report.against import Teds
from benchmark.report.drawing import MARKERS, Look, looks_of, picture, write_picture
from benchmark.report.fronts import Plane, Point, families, has_front, label, planes
from benchmark.report.rows import Row, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VARIANTS = (":", "-.", "--")
_WIDTH, _HEIGHT = 5.2, 4.8
"""Of a panel, in inches."""
_LETTER = 0.0118
"""The width of a letter of a label, as a share of the panel's."""
_LINE = 0.05
"""The height of a label, in N-TED accuracy."""


class Line(NamedTuple):
    """A strategy, and those of its options that are words."""

    strategy: str
    words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return " ".join([self.strategy, *self.words])


def write_paretos(directory: Path, records: Sequence[Record], teds: Teds) -> list[Path]:
    """Write ``figures/pareto-<data set>-...`` for each group of settings with a teacher and other rows.

    Settings that differ in their options alone share a figure. Intervals are drawn where it is known how documents were
    read. Raises `UserError` if a file cannot be written.
    """
    looks = looks_of(records)
    return [
        path
        for family, rows in families(records).items()
        if has_front(rows)
        for path in _write(directory, family, planes(rows, teds), looks)
    ]


def pareto_name(setting: Setting) -> str:
    """Of the figure that the rows of a setting are in: its options are the only thing that it may share."""
    return setting_name("pareto", setting)


def setting_name(kind: str, setting: Setting) -> str:
    """The name of a figure of a setting and those that differ in their options alone."""
    parts = [kind, setting.dataset, setting.scale, setting.protocol, setting.budget, str(setting.test_documents)]
    parts += [] if setting.limit is None else [f"limit{setting.limit}"]
    return "-".join([*parts, setting.device])


def line_of(row: Row) -> Line:
    options = sorted(row.records[0].options.items())
    return Line(row.strategy, tuple(f"{name}={value}" for name, value in options if not _is_number(value)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def lines(points: Iterable[Point]) -> dict[Line, list[Point]]:
    """The points along each line, the cheapest first."""
    found: dict[Line, list[Point]] = {}
    for point in points:
        found.setdefault(line_of(point.row), []).append(point)
    return {line: sorted(own, key=lambda point: (point.cost.value, point.score.value)) for line, own in found.items()}


def _write(directory: Path, family: Setting, found: dict[str, Plane], looks: dict[str, Look]) -> list[Path]:
    with picture(len(found), width=_WIDTH, height=_HEIGHT, columns=2) as drawn:
        top = 1.02
        for panel, (cost, plane) in zip(drawn.panels, found.items(), strict=True):
            _draw_points(panel, plane, looks)
            top = max(top, _draw_front(panel, plane))
            panel.set_xlabel(f"{cost} (x teacher)")
            panel.set_ylabel("N-TED accuracy")
            panel.grid(alpha=0.3)
        drawn.panels[0].set_ylim(-0.03, top)
        drawn.panels[0].set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        drawn.figure.suptitle(textwrap.fill(family.title, 110), parse_math=False, fontsize=11)
        drawn.legend()
        return write_picture(directory, pareto_name(family), drawn.figure)


def _draw_points(panel: Axes, plane: Plane, looks: dict[str, Look]) -> None:
    """What is on the front stands out."""
    best = [plane.points[place] for place in plane.front]
    found = lines(plane.points)
    variants = sorted(line for line in found if line.words)
    for line, own in found.items():
        like = [other for other in variants if other.strategy == line.strategy]
        style = _style(looks[line.strategy], like.index(line) if line.words else None, len(own))
        costs, scores = ([getattr(point, axis).value for point in own] for axis in ("cost", "score"))
        panel.plot(costs, scores, label=line.label, **style, alpha=0.4, zorder=2)
        front = [point for point in own if point in best]
        costs, scores = ([getattr(point, axis).value for point in front] for axis in ("cost", "score"))
        panel.plot(costs, scores, **(style | {"linestyle": "none", "markersize": 7}), zorder=4)
        _draw_intervals(panel, [point for point in own if point not in best], style["color"], 0.35)
        _draw_intervals(panel, front, style["color"], 1)


def _draw_intervals(panel: Axes, points: Sequence[Point], colour: str, alpha: float) -> None:
    """As one broken line: a figure of a line each is twice as large."""
    ends = [((p.cost.value, p.cost.value), (p.score.low, p.score.high)) for p in points if p.score.low < p.score.high]
    ends += [((p.cost.low, p.cost.high), (p.score.value, p.score.value)) for p in points if p.cost.low < p.cost.high]
    if ends:
        costs, scores = ([end for pair in axis for end in (*pair, math.nan)] for axis in zip(*ends, strict=True))
        panel.plot(costs, scores, color=colour, alpha=alpha, linewidth=0.9, zorder=3)


def _draw_front(panel: Axes, plane: Plane) -> float:
    """The steps of the front, and its names one above the other; how high they reach."""
    best = [plane.points[place] for place in plane.front]
    costs, scores = [point.cost.value for point in best], [point.score.value for point in best]
    panel.set_xscale("log", base=2)
    low, high = _reach(plane.points, [(cost, len(label(point.row))) for cost, point in zip(costs, best, strict=True)])
    panel.step([*costs, high], [*scores, scores[-1]], where="post", color="black", linewidth=1, zorder=3)
    height = 0.0
    for point, cost, score in zip(best, costs, scores, strict=True):
        height = max(height + _LINE, score + 0.7 * _LINE)
        # No point lies above the front, so that a name to the left of the line from its point hides nothing.
        panel.plot([cost, cost], [score, height + _LINE / 2], color="black", linewidth=0.5, zorder=1)
        panel.annotate(
            label(point.row),
            (cost, height),
            (-2, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            parse_math=False,
        )
    panel.set_xlim(low, high)
    marks = _ticks(low, high)
    panel.set_xticks(list(marks), list(marks.values()))
    panel.set_xticks([], minor=True)
    return height + 1.5 * _LINE


def _reach(points: Sequence[Point], labels: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The ends of the x axis, so that there is room to the left of each (cost, letters of its label)."""
    high = math.log2(max(point.cost.high for point in points)) + 0.1
    low = math.log2(min(point.cost.low for point in points)) - 0.1
    for cost, letters in labels:
        share = min(_LETTER * (letters + 1), 0.7)
        low = min(low, (math.log2(cost) - share * high) / (1 - share))
    return 2**low, 2**high


def _ticks(low: float, high: float) -> dict[float, str]:
    """Powers of two, or tenths where there are few of them."""
    halves = {2.0**-power: "1" if power == 0 else f"1/{2**power}" for power in range(12)}
    marks = {tenths / 10: f"{tenths / 10:g}" for tenths in range(3, 11)} if low > 0.25 else halves
    return {mark: text for mark, text in marks.items() if low <= mark <= high}


def _style(look: Look, variant: int | None, points: int) -> dict[str, Any]:
    """`variant` counts the lines of one strategy that have words; None is the one without."""
    style = look.options | {"linewidth": 1.0}
    if variant is not None:
        style |= {"markerfacecolor": "none", "linestyle": VARIANTS[variant % len(VARIANTS)]}
        style |= {"marker": MARKERS[(MARKERS.index(look.marker) + variant) % len(MARKERS)]}
    return style | ({"linestyle": "none"} if points == 1 else {})
