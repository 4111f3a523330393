"""Reading: lines of sentences, names, addresses, prices and codes; the ground truth is the text in reading order."""

from __future__ import annotations

from collections.abc import Iterator

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


def _fitting(sheet: Sheet, writer: Writer) -> tuple[str, ...]:
    """A line that fits: tried with ever fewer characters, since letters differ in width."""
    for longest in range(sheet.columns + 3, 15, -1):
        parts = _line(writer, longest)
        if sheet.fits(" ".join(parts)):
            return parts
    return (writer.phone(),)


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    count = int(writer.random.integers(3 * sheet.lines // 5, sheet.lines + 1))
    slack = sheet.height - 2 * sheet.margin - count * sheet.line_height
    top = sheet.margin + int(writer.random.integers(0, max(slack, 0) + 1))
    texts: list[str] = []
    glyphs: list[Glyph] = []
    for line in range(count):
        parts = _fitting(sheet, writer)
        if len(" ".join([*texts, *parts])) > sheet.longest:
            break
        texts.extend(parts)
        for printed in sheet.row(line, *parts, top=top):
            glyphs.extend(printed)
    return {"text_sequence": " ".join(texts)}, glyphs


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "synthdog-mini",
        "embedded pages of text to read, the upstream task",
        compose,
        keys=("text_sequence",),
        stands_for="SynthDog-EN",
        reading=True,
    )
