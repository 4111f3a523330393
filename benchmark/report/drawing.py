"""How figures look, the same in each of them. matplotlib is imported only when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.records.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette for the colour-blind, without its yellow, which is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":")


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


class Picture:
    """Panels side by side with one legend beside them."""

    def __init__(self, figure: Figure, panels: Sequence[Axes]) -> None:
        self._figure = figure
        self.panels = panels

    def png(self) -> bytes:
        """The same input gives the same bytes."""
        lines = {str(line.get_label()): line for panel in self.panels for line in panel.get_lines()}
        named = {label: line for label, line in lines.items() if not label.startswith("_")}
        self._figure.legend(named.values(), named.keys(), loc="outside right upper", frameon=False)
        png = io.BytesIO()
        self._figure.savefig(png, format="png", dpi=120, metadata={"Software": None})
        return png.getvalue()


@contextmanager
def picture(panels: int, width: float) -> Iterator[Picture]:
    """An empty picture of panels of this width, in inches."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # The reader's own matplotlibrc must not change the picture.
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(width * panels + 2, 4.5), layout="constrained")
        yield Picture(figure, figure.subplots(1, panels, squeeze=False, sharey=True)[0])
