"""The columns of a table: each gives a row's cell as text for Markdown and as plain fields for CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import pandas as pd

from benchmark.report.rows import Get, Row, efficiency, metric

Field = str | int | float | None
Kind = TypeVar("Kind")
Kind_contra = TypeVar("Kind_contra", contravariant=True)


class Column(Protocol[Kind_contra]):
    """Of rows of records (`Row`), or of another kind of row."""

    @property
    def heading(self) -> str: ...

    @property
    def align(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns in CSV."""
        ...

    def text(self, row: Kind_contra) -> str: ...

    def fields(self, row: Kind_contra) -> tuple[Field, ...]:
        """One value for each of `names`."""
        ...


@dataclass(frozen=True, slots=True)
class Text(Generic[Kind]):
    """Words about a row."""

    key: str
    heading: str
    get: Callable[[Kind], str | None]
    align: str = "left"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.key,)

    def text(self, row: Kind) -> str:
        return self.get(row) or ""

    def fields(self, row: Kind) -> tuple[Field, ...]:
        return (self.get(row),)


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure of the paper, with the digits that it prints; empty where it has none."""

    key: str
    title: str
    get: Callable[[str | None], float | None]
    digits: int
    align: ClassVar[str] = "right"

    @property
    def heading(self) -> str:
        return f"{self.title} *reported*"

    @property
    def names(self) -> tuple[str, ...]:
        return (f"{self.key}_reported",)

    def text(self, row: Row) -> str:
        value = self.get(row.paper_name)
        return "" if value is None else number(value, self.digits)

    def fields(self, row: Row) -> tuple[Field, ...]:
        return (self.get(row.paper_name),)


@dataclass(frozen=True, slots=True)
class Measured:
    """Our figure: the mean over distinct checkpoints, with the sample standard deviation if there are several."""

    key: str
    heading: str
    get: Get
    digits: int = 3
    align: ClassVar[str] = "right"

    @property
    def names(self) -> tuple[str, ...]:
        return f"{self.key}_measured", f"{self.key}_measured_std"

    def text(self, row: Row) -> str:
        mean, spread = row.mean(self.get), row.spread(self.get)
        if mean is None:
            return "" if row.scored else "failed"
        # What prints as nothing is none: sizes hardly differ from seed to seed.
        error = "" if spread is None or round(spread, self.digits) == 0 else f" ± {number(spread, self.digits)}"
        return number(mean, self.digits) + error

    def fields(self, row: Row) -> tuple[Field, ...]:
        return rounded(row.mean(self.get)), rounded(row.spread(self.get))


@dataclass(frozen=True, slots=True)
class Seeds:
    """How many distinct checkpoints were measured; where seeds failed, of how many."""

    heading: ClassVar[str] = "seeds"
    align: ClassVar[str] = "right"
    names: ClassVar[tuple[str, ...]] = ("seeds_measured", "checkpoints_measured", "seeds_failed", "error")

    def text(self, row: Row) -> str:
        found = len(row.distinct)
        return f"{found} of {found + len(row.failures)}" if row.failures else str(found)

    def fields(self, row: Row) -> tuple[Field, ...]:
        errors = "; ".join(str(record.error) for record in row.failures)
        return len(row.scored), len(row.distinct), len(row.failures), errors or None


MILLION = 1e6
TED = Measured("ted", "ted", metric("ted"))
F1 = Measured("f1", "f1", metric("f1"))
NONZERO = Measured("params_nonzero", "nonzero (M)", efficiency("params_nonzero", MILLION))
PACKED = Measured("size_packed", "packed (MB)", efficiency("size_packed_bytes", 1e6))


def measured(key: str, title: str, get: Get, digits: int = 3) -> Measured:
    """A column that stands beside the paper's."""
    return Measured(key, f"{title} *measured*", get, digits)


def number(value: float, digits: int) -> str:
    """`value` with `digits` decimals, and never a minus before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def rounded(value: float | None) -> float | None:
    """A field of CSV."""
    return None if value is None else round(value, 3) + 0.0


def text_frame(columns: Sequence[Column[Kind]], rows: Sequence[Kind]) -> pd.DataFrame:
    """The table as it is read: a text in each cell, the headings as column names."""
    cells = [[column.text(row) for column in columns] for row in rows]
    return pd.DataFrame(cells, columns=[column.heading for column in columns], dtype=object)


def with_text(columns: Sequence[Column[Kind]], rows: Sequence[Kind]) -> list[Column[Kind]]:
    """The columns in which some row has something to say."""
    return [column for column in columns if any(column.text(row) for row in rows)]


def markdown_table(columns: Sequence[Column[Kind]], rows: Sequence[Kind]) -> str:
    """The table in Markdown, without a newline at the end."""
    return markdown(text_frame(columns, rows), [column.align for column in columns])


def markdown(frame: pd.DataFrame, align: Sequence[str]) -> str:
    """A table of texts in Markdown, without a newline at the end."""
    cells = frame.map(escaped)
    return str(cells.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))


def csv_text(rows: Sequence[Sequence[Field]], header: Sequence[str]) -> str:
    """CSV with "\\n" line ends; None is an empty field."""
    frame = pd.DataFrame(rows, columns=list(header), dtype=object)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def escaped(text: str) -> str:
    """`text` on one line, safe in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def failure_list(rows: Sequence[Row]) -> list[str]:
    """What failed, as a block of Markdown lines that ends with an empty one; nothing if nothing failed."""
    failures = [record for row in rows for record in row.failures]
    if not failures:
        return []
    lines = [f"- {record.strategy}, seed {record.seed}: {_code(str(record.error))}" for record in failures]
    return ["Failed:", "", *lines, ""]


def repeat_list(rows: Sequence[Row]) -> list[str]:
    """Why seeds give no spread, as a block of Markdown lines that ends with an empty one; nothing if none repeats."""
    lines = repeats(rows)
    return [*(line[0].upper() + line[1:] for line in lines), ""] if lines else []


def repeats(rows: Sequence[Row]) -> list[str]:
    """A sentence for each list of seeds that gave one and the same checkpoint, with the rows in which they did."""
    found: dict[tuple[str, bool], list[str]] = {}
    for row in rows:
        for same in row.checkpoints:
            if len(same) > 1:
                seeds = ", ".join(str(record.seed) for record in same)
                found.setdefault((seeds, len(row.distinct) > 1), []).append(row.strategy)
    return [
        f"seeds {seeds} of {', '.join(names)} score one and the same checkpoint{' each' if len(names) > 1 else ''} "
        "(nothing of it was trained in this run, or its training does not depend on the seed), "
        + ("which counts once." if several else "so no spread is printed.")
        for (seeds, several), names in found.items()
    ]


def _code(text: str) -> str:
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line if len(line) <= 300 else line[:299] + '…'}`"
