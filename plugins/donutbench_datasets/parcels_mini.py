"""Parcel labels: sender, receiver and the items declared to customs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmark import Dataset, Glyph, Json, hookimpl
from donutbench_datasets.embedded import embedded, tokens
from donutbench_datasets.render import Sheet
from donutbench_datasets.words import Writer, choice, money

Draw = Callable[[int], str]


def _party(sheet: Sheet, writer: Writer, line: int) -> tuple[Json, list[Glyph]]:
    """A name and a phone number on one line, the address below."""
    phone = writer.phone()
    name = _fit(sheet, lambda longest: writer.name(longest), 9, f"  {phone}")
    address = _fit(sheet, lambda longest: writer.street(longest), 16, "")
    printed_name, printed_phone = sheet.row(line, name, phone)
    (printed_address,) = sheet.row(line + 1, address)
    party = {"name": name, "address": address, "phone": phone}
    return party, [*printed_name, *printed_address, *printed_phone]


def _fit(sheet: Sheet, draw: Draw, shortest: int, beside: str) -> str:
    for longest in range(max(sheet.columns - len(beside), shortest), shortest - 1, -1):
        text = draw(longest)
        if sheet.fits(text + beside):
            break
    return text


def _item(sheet: Sheet, writer: Writer) -> dict[str, str]:
    value = money(int(writer.random.integers(50, 9999)))
    grams = int(writer.random.integers(1, 100))
    weight = f"{grams // 10}.{grams % 10}kg"
    description = _fit(sheet, lambda longest: writer.article(longest), 7, f"  {value}  {weight}")
    return {"description": description, "value": value, "weight": weight}


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    random = writer.random
    label = choice(random, ("PARCEL", "CUSTOMS", "PRIORITY", "EXPRESS"))
    sheet.row(0, label)
    sender, glyphs = _party(sheet, writer, 1)
    receiver, more = _party(sheet, writer, 3)
    glyphs.extend(more)
    items: list[dict[str, str]] = []
    for line in range(5, 5 + int(random.integers(1, max(2, min(sheet.lines - 5, 10) + 1)))):
        item = _item(sheet, writer)
        if items and tokens({"sender": sender, "receiver": receiver, "items": [*items, item]}) > sheet.longest:
            break
        items.append(item)
        glyphs.extend(glyph for part in sheet.row(line, *item.values()) for glyph in part)
    return {"sender": sender, "receiver": receiver, "items": items if len(items) > 1 else items[0]}, glyphs


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "parcels-mini",
        "embedded parcel labels: sender, receiver, items",
        compose,
        keys=("sender", "receiver", "name", "address", "phone", "items", "description", "value", "weight"),
        stands_for="Parcel Reader",
    )
