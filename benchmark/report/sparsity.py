"""Score against sparsity, a line a strategy: where it falls off its cliff."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.metrics.front import Estimate
from benchmark.metrics.paired import Bootstrap, Difference
from benchmark.records.record import Record
from benchmark.report.against import Teds, matrices
from benchmark.report.drawing import Look, looks_of, picture, write_picture
from benchmark.report.fronts import families, label
from benchmark.report.pareto import VARIANTS, Line, line_of, setting_name
from benchmark.report.rows import Row, Setting, efficiency, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS = 0.05
"""N-TED accuracy below the teacher's: a row is over the cliff where it surely loses more."""
_FEWEST = 3
_TED = metric("ted")


@dataclass(frozen=True, slots=True)
class Point:
    """A row at its sparsity. `score` has no width, and `loss` is None, where it is not known how documents were read.

    `loss` is the difference to the teacher on the same documents.
    """

    row: Row
    sparsity: float
    score: Estimate
    loss: Difference | None

    @property
    def over(self) -> bool:
        """Whether the interval lies wholly below what may be lost."""
        return self.loss is not None and self.loss.high < -LOSS


Lines = dict[Line, list[Point]]


def cliffs(rows: Sequence[Row], teds: Teds) -> Lines:
    """The lines of a family that have at least three sparsities, the least sparse point first; of one sparsity one row.

    That is the one of the most checkpoints, then the one of the fewest options.
    """
    found: dict[Line, dict[float, Row]] = {}
    for row in sorted(rows, key=lambda row: (-len(row.distinct), len(row.records[0].options))):
        density = row.mean(efficiency("density"))
        if density is not None and row.mean(_TED) is not None and not row.reference:
            found.setdefault(line_of(row), {}).setdefault(round(1 - density, 3), row)
    reference = next((row for row in rows if row.reference), None)
    return {
        line: [_point(own[sparsity], sparsity, reference, teds) for sparsity in sorted(own)]
        for line, own in sorted(found.items())
        if len(own) >= _FEWEST
    }


def _point(row: Row, sparsity: float, reference: Row | None, teds: Teds) -> Point:
    mean = row.mean(_TED) or 0.0
    ours, theirs = matrices([row, reference or row], teds)
    if ours is None:
        return Point(row, sparsity, Estimate(mean, mean, mean), None)
    bootstrap = Bootstrap(ours.shape[1])
    sample = bootstrap.sample(ours, label(row))
    loss = None
    if reference is not None and theirs is not None:
        loss = sample.minus(bootstrap.sample(theirs, reference.strategy))
    return Point(row, sparsity, Estimate(mean, *sample.interval), loss)


def cliff_sentences(lines: Lines) -> list[str]:
    """Where each line falls off, in words; nothing of a line of which nobody knows."""
    told = [_sentence(line, points) for line, points in lines.items() if all(point.loss for point in points)]
    if not told:
        return []
    rule = (
        "The cliff of a strategy is at the lowest sparsity tried of which the 95 % interval of the difference to the "
    )
    rule += f"teacher, paired on the same documents, lies wholly below -{LOSS:g}:"
    return [rule, "", *(f"- {sentence}" for sentence in told)]


def _sentence(line: Line, points: Sequence[Point]) -> str:
    place = next((place for place, point in enumerate(points) if point.over), None)
    if place is None:
        last = points[-1]
        return f"{line.label}: none up to a sparsity of {last.sparsity:.3f} ({last.loss})."
    found = points[place]
    before = points[place - 1] if place else None
    held = f", after {before.sparsity:.3f} ({before.loss})" if before else ", the lowest that was tried"
    return f"{line.label}: at a sparsity of {found.sparsity:.3f} ({found.loss}){held}."


def sparsity_name(setting: Setting) -> str:
    return setting_name("sparsity", setting)


def write_sparsities(directory: Path, records: Sequence[Record], teds: Teds) -> list[Path]:
    """Write ``figures/sparsity-<data set>-...`` for each family with a line of at least three sparsities.

    Raises `UserError` if a file cannot be written.
    """
    looks = looks_of(records)
    paths = []
    for family, rows in families(records).items():
        lines = cliffs(rows, teds)
        if lines:
            teacher = next((row.mean(_TED) for row in rows if row.reference), None)
            with picture(1, width=8, height=5) as drawn:
                _draw(drawn.panels[0], lines, teacher, looks)
                drawn.panels[0].set_title(textwrap.fill(family.title, 80), parse_math=False, fontsize=11)
                drawn.legend()
                paths += write_picture(directory, sparsity_name(family), drawn.figure)
    return paths


def _draw(panel: Axes, lines: Lines, teacher: float | None, looks: dict[str, Look]) -> None:
    variants: dict[str, int] = {}
    for line, points in lines.items():
        style = looks[line.strategy].options
        if line.words:
            number = variants[line.strategy] = variants.get(line.strategy, -1) + 1
            style |= {"markerfacecolor": "none", "linestyle": VARIANTS[number % len(VARIANTS)]}
        sparsities, scores = [point.sparsity for point in points], [point.score.value for point in points]
        # A percentile interval need not hold its mean to the last digit.
        below = [max(0.0, point.score.value - point.score.low) for point in points]
        above = [max(0.0, point.score.high - point.score.value) for point in points]
        panel.errorbar(sparsities, scores, yerr=[below, above], label=line.label, capsize=2, elinewidth=1, **style)
    if teacher is not None:
        panel.axhline(teacher, color="black", linewidth=1, label="teacher")
        panel.axhline(teacher - LOSS, color="black", linewidth=0.8, linestyle=":", label=f"teacher - {LOSS:g}")
    panel.set_xlabel("sparsity (share of non-embedding weights that are zero)")
    panel.set_ylabel("N-TED accuracy")
    panel.set_ylim(-0.03, 1.03)
    panel.grid(alpha=0.3)
