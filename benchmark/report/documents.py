"""N-TED accuracy of each document against a baseline (the paper's Figure 3): which documents a mean hides."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.metrics.paired import Floats
from benchmark.records.record import Record
from benchmark.report.against import BASELINE, Teds, matrices
from benchmark.report.drawing import looks_of, picture, write_picture
from benchmark.report.pareto import setting_name
from benchmark.report.rows import Row, Setting, by_setting, principal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 5
_STROKE = 0.004


@dataclass(frozen=True, slots=True)
class Scatter:
    """A row's scores (documents,) and the baseline's, each the mean over distinct checkpoints."""

    row: Row
    theirs: Floats
    ours: Floats

    @property
    def shares(self) -> tuple[float, float]:
        """Of documents, those that the row reads better, and those that it reads worse."""
        return float((self.ours > self.theirs).mean()), float((self.ours < self.theirs).mean())


def baseline(rows: Sequence[Row]) -> Row | None:
    """The paper's own one, under its protocol; the reference where nothing was made from a smaller corpus."""
    papers = (row for row in rows if row.paper_name == BASELINE and row.records[0].protocol == "paper" and row.scored)
    return next(papers, next((row for row in rows if row.reference and row.scored), None))


def scatters(rows: Sequence[Row], teds: Teds) -> list[Scatter]:
    """Of the reference and each trained row, as in the paper, that read what the baseline has read.

    None where it is not known how documents were read.
    """
    other = baseline(rows)
    if other is None:
        return []
    *scores, theirs = matrices([*rows, other], teds)
    return [
        Scatter(row, theirs.mean(0), ours.mean(0))
        for row, ours in zip(rows, scores, strict=True)
        if row is not other and _trained(row) and ours is not None and theirs is not None
    ]


def _trained(row: Row) -> bool:
    return row.reference or any(record.objective for record in row.scored)


def documents_name(setting: Setting) -> str:
    return setting_name("documents", setting)


def write_documents(directory: Path, records: Sequence[Record], teds: Teds) -> list[Path]:
    """Write ``figures/documents-<data set>-...`` for each setting whose documents are known, a panel a row.

    Raises `UserError` if a file cannot be written.
    """
    looks = looks_of(records)
    paths = []
    for setting, rows in principal(by_setting(records)).items():
        found, other = scatters(rows, teds), baseline(rows)
        if found and other:
            with picture(len(found), width=2.3, height=2.4, columns=_COLUMNS) as drawn:
                for panel, scatter in zip(drawn.panels, found, strict=True):
                    _draw(panel, scatter, looks[scatter.row.strategy].colour)
                drawn.figure.supxlabel(f"N-TED accuracy of {other.strategy}", parse_math=False)
                drawn.figure.supylabel("N-TED accuracy of the row")
                title = textwrap.fill(setting.title, 26 * min(len(found), _COLUMNS))
                drawn.figure.suptitle(title, parse_math=False, fontsize=11)
                paths += write_picture(directory, documents_name(setting), drawn.figure)
    return paths


def _draw(panel: Axes, scatter: Scatter, colour: str) -> None:
    panel.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    # Dots as one path of very short strokes: a file of a mark each is twice as large.
    ends = np.stack([scatter.theirs, scatter.theirs + _STROKE, np.full_like(scatter.theirs, np.nan)], axis=1)
    (dots,) = panel.plot(ends.ravel(), scatter.ours.repeat(3), color=colour, alpha=0.5, linewidth=4.5)
    dots.set_solid_capstyle("round")
    dots.get_path().should_simplify = False
    better, worse = scatter.shares
    panel.text(0.03, 0.97, f"{100 * better:.0f} % better", va="top", fontsize=9)
    panel.text(0.97, 0.03, f"{100 * worse:.0f} % worse", ha="right", fontsize=9)
    panel.set_title(scatter.row.strategy, parse_math=False, fontsize=10)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])
    panel.set_aspect("equal")
    panel.grid(alpha=0.3)
