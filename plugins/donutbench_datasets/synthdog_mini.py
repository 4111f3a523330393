"""Reading: lines of sentences, names, addresses, prices and codes; the ground truth is the text in reading order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmark import Dataset, Glyph, Json, hookimpl
from donutbench_datasets.embedded import embedded
from donutbench_datasets.render import Sheet
from donutbench_datasets.words import Writer, money


def _price_row(writer: Writer, longest: int) -> tuple[str, ...]:
    price = money(int(writer.random.integers(50, 20_000)))
    row = (writer.dish(max(longest - 10, 8)), str(int(writer.random.integers(1, 10))), price)
    return row if writer.random.random() < 0.6 else (row[0], row[2])


def _line(writer: Writer, longest: int) -> tuple[str, ...]:
    """The parts of one line, spread over its width."""
    kind = writer.random.random()
    if kind < 0.38:
        return (writer.sentence(longest),)
    if kind < 0.56:
        return (writer.code(longest),)
    if kind < 0.64:
        return (writer.name(longest - 9), writer.phone())
    if kind < 0.72:
        return (writer.street(longest),)
    if kind < 0.78:
        return (writer.company(longest),)
    if kind < 0.86:
        return (writer.article(longest - 6), money(int(writer.random.integers(50, 20_000))))
    return _price_row(writer, longest)


def _fitting(sheet: Sheet, writer: Writer, widest: int, indent: str) -> tuple[str, ...]:
    """A line that fits: tried with ever fewer characters, since letters differ in width."""
    for longest in range(widest, 15, -1):
        parts = _line(writer, longest)
        if sheet.fits(indent + " ".join(parts)):
            return parts
    return (writer.phone(),)


def _lines(sheet: Sheet, writer: Writer, widest: int, indent: str = "") -> tuple[int, list[tuple[str, ...]]]:
    """The lines of a page and where the first one begins; `widest` is their most characters, to begin with."""
    count = int(writer.random.integers(3 * sheet.lines // 5, sheet.lines + 1))
    slack = sheet.height - 2 * sheet.margin - count * sheet.line_height
    top = sheet.margin + int(writer.random.integers(0, max(slack, 0) + 1))
    lines: list[tuple[str, ...]] = []
    for _ in range(count):
        parts = _fitting(sheet, writer, widest, indent)
        if len(_text([*lines, parts])) > sheet.longest:
            break
        lines.append(parts)
    return top, lines


def _text(lines: Iterable[tuple[str, ...]]) -> str:
    return " ".join(part for parts in lines for part in parts)


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """Lines from margin to margin."""
    top, lines = _lines(sheet, writer, sheet.columns + 3)
    rows = [sheet.row(line, *parts, top=top) for line, parts in enumerate(lines)]
    return {"text_sequence": _text(lines)}, [glyph for row in rows for part in row for glyph in part]


def shifted(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """Shorter lines that are indented, with all their parts together."""
    indent = " " * int(writer.random.integers(2, 5))
    top, lines = _lines(sheet, writer, max(3 * sheet.columns // 4, 16), indent)
    rows = [sheet.aligned(line, indent + " ".join(parts), 0, top) for line, parts in enumerate(lines)]
    return {"text_sequence": _text(lines)}, [glyph for row in rows for glyph in row]


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "synthdog-mini",
        "embedded pages of text to read, the upstream task",
        compose,
        shifted,
        keys=("text_sequence",),
        stands_for="SynthDog-EN",
        reading=True,
    )
