"""The paper's Figure 5: the CKA of every layer of a row's model with every layer of the teacher, a figure a setting."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.records.record import Record
from benchmark.report.drawing import style, write_picture
from benchmark.report.pareto import setting_name
from benchmark.report.rows import Row, Setting, by_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_ACROSS = 5
_CELL = 0.36
"""Inches: a number of two decimals fits in."""
_NARROWEST = 1.5
"""Inches of a panel of few layers: the strategy's name is above it."""
_BRIGHT = 0.6
"""From here on the colours are so light that the numbers are black."""


class Heatmap(NamedTuple):
    """`values` is (student layers, teacher layers), the mean over checkpoints; NaN where one of them has no CKA."""

    values: NDArray[np.float64]
    student: tuple[str, ...]
    teacher: tuple[str, ...]


def write_heatmaps(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``figures/cka-<data set>-...`` for each setting with layerwise CKA of more than the teacher.

    Settings with options have none: a sweep would fill pages. Raises `UserError` if a file cannot be written.
    """
    paths = []
    for setting, rows in by_setting(records).items():
        if has_heatmaps(setting, rows):
            with style():
                figure = _draw(setting, rows)
            paths += write_picture(directory, heatmaps_name(setting), figure)
    return paths


def has_heatmaps(setting: Setting, rows: Sequence[Row]) -> bool:
    """Whether the setting gets a figure."""
    return not setting.options and any(heatmap(row) for row in rows if not row.reference)


def heatmaps_name(setting: Setting) -> str:
    """Of the figure of a setting without options."""
    return setting_name("cka", setting)


def heatmap(row: Row) -> Heatmap | None:
    """The row's layerwise CKA in the paper's form; of checkpoints that differ in their layers, those like the first."""
    measured = [record.metrics for record in row.distinct if record.metrics is not None and record.metrics.layerwise]
    if not measured:
        return None
    student, teacher = measured[0].layers_student, measured[0].layers_teacher
    alike = [own for own in measured if (own.layers_student, own.layers_teacher) == (student, teacher)]
    values = np.mean([np.array(own.layerwise, dtype=np.float64) for own in alike], axis=0)  # None becomes NaN
    return Heatmap(values, tuple(student), tuple(teacher))


def _draw(setting: Setting, rows: Sequence[Row]) -> Figure:
    from matplotlib.figure import Figure

    found = [(row.strategy, drawn) for row in rows if (drawn := heatmap(row)) is not None]
    across, down = min(_ACROSS, len(found)), math.ceil(len(found) / _ACROSS)
    wide = max(_NARROWEST, max(len(drawn.teacher) for _, drawn in found) * _CELL) + 0.6
    high = max(len(drawn.student) for _, drawn in found) * _CELL + 0.6
    width = max(across * wide + 1.2, 6)
    title = f"Layers of each model (down) and of the teacher (across): {setting.title}"
    lines = textwrap.wrap(title, int(width * 10))
    figure = Figure(figsize=(width, down * high + 0.2 * len(lines) + 0.4), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(found) :]:
        panel.remove()
    panels = panels[: len(found)]
    images = [_draw_panel(panel, *named) for panel, named in zip(panels, found, strict=True)]
    # Of panels of unequal height the tops are in line; a colour bar would centre them.
    bar = figure.colorbar(images[0], ax=list(panels), fraction=0.03, pad=0.01, aspect=12 * down, panchor=False)
    bar.set_label("CKA, paper form")
    return figure


def _draw_panel(panel: Axes, strategy: str, drawn: Heatmap) -> AxesImage:
    image = panel.imshow(drawn.values, vmin=0, vmax=1, cmap="viridis")
    for (row, column), value in np.ndenumerate(drawn.values):
        if not np.isnan(value):
            colour = "black" if value >= _BRIGHT else "white"
            panel.text(column, row, f"{value:.2f}", color=colour, fontsize=8, ha="center", va="center")
    panel.set_title(strategy, fontsize=10, parse_math=False)
    panel.set_xticks(range(len(drawn.teacher)), drawn.teacher, fontsize=7)
    panel.set_yticks(range(len(drawn.student)), drawn.student, fontsize=7)
    panel.tick_params(length=2)
    panel.set_anchor("N")
    return image
