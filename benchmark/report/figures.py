"""The validation curves, one PNG a data set. matplotlib is imported only when a figure is drawn."""

from __future__ import annotations

import io
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.rows import Row, Setting, by_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette for the colour-blind, without its yellow, which is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":")


@dataclass(frozen=True, slots=True)
class Look:
    """How a strategy is drawn, the same in every figure."""

    colour: str
    marker: str
    line: str


def write_figures(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``figures/validation-<data set>.png`` for each data set with a curve.

    Raises `UserError` if a file cannot be written.
    """
    looks = _looks(records)
    panels: dict[str, dict[Setting, list[Row]]] = {}
    for setting, rows in by_setting(records).items():
        if has_curves(rows):
            panels.setdefault(setting.dataset, {})[setting] = rows
    paths = []
    for dataset, settings in panels.items():
        path = directory / "figures" / figure_name(dataset)
        write_atomically(path, _draw(settings, looks))
        paths.append(path)
    return paths


def figure_name(dataset: str) -> str:
    return f"validation-{dataset}.png"


def has_curves(rows: Sequence[Row]) -> bool:
    return any(mean_curve(row) for row in rows)


def mean_curve(row: Row) -> list[tuple[int, float]]:
    """The mean over checkpoints of the validation curve, at the steps that each of them has."""
    curves = [dict(record.curve) for record in row.distinct]
    if not curves:
        return []
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    return [(step, statistics.fmean(curve[step] for curve in curves)) for step in steps]


def _looks(records: Sequence[Record]) -> dict[str, Look]:
    names = sorted({record.strategy for record in records if record.curve})
    return {
        name: Look(
            _COLOURS[index % len(_COLOURS)],
            _MARKERS[index % len(_MARKERS)],
            _LINES[index // len(_COLOURS) % len(_LINES)],
        )
        for index, name in enumerate(names)
    }


def _draw(settings: dict[Setting, list[Row]], looks: dict[str, Look]) -> bytes:
    """One panel a setting, side by side, and one legend beside them; the same input gives the same bytes."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # The reader's own matplotlibrc must not change the picture.
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(6.5 * len(settings) + 2, 4.5), layout="constrained")
        axes = figure.subplots(1, len(settings), squeeze=False, sharey=True)[0]
        for panel, (setting, rows) in zip(axes, settings.items(), strict=True):
            _draw_panel(panel, setting, rows, looks)
        lines = {str(line.get_label()): line for panel in axes for line in panel.get_lines()}
        figure.legend(lines.values(), lines.keys(), loc="outside right upper", frameon=False)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=120, metadata={"Software": None})
    return png.getvalue()


def _draw_panel(panel: Axes, setting: Setting, rows: Sequence[Row], looks: dict[str, Look]) -> None:
    for row in rows:
        curve = mean_curve(row)
        if curve:
            look = looks[row.strategy]
            steps, scores = zip(*curve, strict=True)
            panel.plot(
                steps, scores, label=row.strategy, color=look.colour, linestyle=look.line, marker=look.marker,
                markersize=5, linewidth=1.8,
            )  # fmt: skip
    panel.set_title(textwrap.fill(setting.title, 66), parse_math=False)
    panel.set_xlabel("training step")
    panel.set_ylabel("validation N-TED accuracy")
    panel.set_ylim(-0.02, 1.02)
    panel.grid(alpha=0.3)
