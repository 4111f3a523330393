"""The validation curves (the paper's Figure 4), one figure a data set."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.records.record import Record
from benchmark.report.drawing import Look, looks_of, picture, write_picture
from benchmark.report.rows import Row, Setting, by_setting, principal

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_figures(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``figures/validation-<data set>.png`` and ``.svg`` for each data set with a curve.

    Raises `UserError` if a file cannot be written.
    """
    looks = looks_of(records)
    panels: dict[str, dict[Setting, list[Row]]] = {}
    for setting, rows in principal(by_setting(records)).items():
        if has_curves(rows):
            panels.setdefault(setting.dataset, {})[setting] = rows
    return [
        path
        for dataset, settings in panels.items()
        for path in _write(directory, figure_name(dataset), settings, looks)
    ]


def figure_name(dataset: str) -> str:
    return f"validation-{dataset}"


def has_curves(rows: Sequence[Row]) -> bool:
    return any(mean_curve(row) for row in rows)


def mean_curve(row: Row) -> list[tuple[int, float]]:
    """The mean over checkpoints of the validation curve, at the steps that each of them has."""
    curves = [dict(record.curve) for record in row.distinct]
    if not curves:
        return []
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    return [(step, statistics.fmean(curve[step] for curve in curves)) for step in steps]


def _write(directory: Path, name: str, settings: dict[Setting, list[Row]], looks: dict[str, Look]) -> list[Path]:
    """One panel a setting."""
    with picture(len(settings), width=5 if len(settings) > 1 else 8, height=5.2, columns=2) as drawn:
        for panel, (setting, rows) in zip(drawn.panels, settings.items(), strict=True):
            _draw_panel(panel, setting, rows, looks)
        drawn.legend()
        return write_picture(directory, name, drawn.figure)


def _draw_panel(panel: Axes, setting: Setting, rows: Sequence[Row], looks: dict[str, Look]) -> None:
    for row in rows:
        curve = mean_curve(row)
        if curve:
            steps, scores = zip(*curve, strict=True)
            panel.plot(steps, scores, label=row.strategy, **looks[row.strategy].options)
    panel.set_title(textwrap.fill(setting.title, 56), parse_math=False, fontsize=10)
    panel.set_xlabel("training step")
    panel.set_ylabel("validation N-TED accuracy")
    panel.set_ylim(-0.02, 1.02)
    panel.grid(alpha=0.3)
