"""How figures look, the same in each of them, and how they are written. matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.records.files import write_atomically
from benchmark.records.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette for the colour-blind, without its yellow, which is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":")
_DPI = 120
_UNDATED = {"Date": None, "Creator": None}


@dataclass(frozen=True, slots=True)
class Look:
    """How a strategy is drawn."""

    colour: str
    marker: str
    line: str

    @property
    def options(self) -> dict[str, Any]:
        """As matplotlib takes it."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line, "markersize": 5, "linewidth": 1.8}


def looks_of(records: Sequence[Record]) -> dict[str, Look]:
    """The look of each strategy."""
    names = sorted({record.strategy for record in records})
    return {
        name: Look(
            _COLOURS[index % len(_COLOURS)],
            MARKERS[index % len(MARKERS)],
            _LINES[index // len(_COLOURS) % len(_LINES)],
        )
        for index, name in enumerate(names)
    }


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels in rows and columns, those of the first row first."""

    figure: Figure
    panels: Sequence[Axes]

    def legend(self) -> None:
        """One legend of all that has a label, each label once, below the panels."""
        found: dict[str, Any] = {}
        for panel in self.panels:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        self.figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4, frameon=False)


@contextmanager
def picture(panels: int, width: float, height: float = 4.5, columns: int | None = None) -> Iterator[Picture]:
    """An empty picture of panels of this size, in inches, which share the y axis; in one row, if `columns` is None."""
    from matplotlib.figure import Figure

    across = min(panels, columns or panels)
    down = ceil(panels / across)
    with style():
        figure = Figure(figsize=(width * across, height * down), layout="constrained")
        axes = list(figure.subplots(down, across, squeeze=False, sharey=True).ravel())
        for left in axes[panels:]:
            left.remove()
        yield Picture(figure, axes[:panels])


def write_picture(directory: Path, name: str, figure: Figure) -> list[Path]:
    """Write ``figures/<name>.png`` and ``.svg`` in `directory`: the same figure, the same bytes.

    Raises `UserError` if a file cannot be written.
    """
    paths = []
    for form, metadata, smaller in (("png", {"Software": None}, _of_few_colours), ("svg", _UNDATED, _rounded)):
        content = io.BytesIO()
        with style():
            figure.savefig(content, format=form, dpi=_DPI, metadata=metadata)
        # Both forms have one layout, which takes a third of the time.
        figure.set_layout_engine("none")
        paths.append(directory / "figures" / f"{name}.{form}")
        write_atomically(paths[-1], smaller(content.getvalue()))
    return paths


def image(text: str, name: str, directory: str = "") -> str:
    """The figure in Markdown, on a page from which `directory` leads to the report."""
    return f"![{text}]({directory}{'/' if directory else ''}figures/{name}.png)"


@contextmanager
def style() -> Iterator[None]:
    """What a figure is made and written in: the reader's own matplotlibrc must not change it."""
    import matplotlib as mpl
    import matplotlib.style

    # Text stays text: it is smaller, and can be searched.
    with (
        matplotlib.style.context("default"),
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "donutbench", "font.sans-serif": ["DejaVu Sans"]}),
    ):
        yield


def _of_few_colours(png: bytes) -> bytes:
    """A third of the size: what is lost are shades at the edges of lines."""
    from PIL import Image

    content = io.BytesIO()
    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    drawn.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        content, "png", optimize=True, dpi=(_DPI, _DPI)
    )
    return content.getvalue()


def _rounded(svg: bytes) -> bytes:
    """Without what is finer than a hundredth of a point, which nobody sees."""
    return re.sub(rb"(\.\d\d)\d+", rb"\1", svg)
