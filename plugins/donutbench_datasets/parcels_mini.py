"""Parcel labels: sender, receiver and the items declared to customs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmark import Dataset, Glyph, Json, hookimpl
from donutbench_datasets.embedded import embedded, tokens
from donutbench_datasets.render import Sheet
from donutbench_datasets.words import Writer, choice, money

Draw = Callable[[int], str]


def _party(sheet: Sheet, writer: Writer) -> dict[str, str]:
    phone = writer.phone()
    name = _fit(sheet, lambda longest: writer.name(longest), 9, f"  {phone}")
    address = _fit(sheet, lambda longest: writer.street(longest), 16, "")
    return {"name": name, "address": address, "phone": phone}


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


@dataclass(frozen=True, slots=True)
class _Label:
    """What is printed."""

    title: str
    sender: dict[str, str]
    receiver: dict[str, str]
    items: list[dict[str, str]]

    @property
    def ground_truth(self) -> Json:
        items = self.items if len(self.items) > 1 else self.items[0]
        return {"sender": self.sender, "receiver": self.receiver, "items": items}


def _draw(sheet: Sheet, writer: Writer) -> _Label:
    random = writer.random
    title = choice(random, ("PARCEL", "CUSTOMS", "PRIORITY", "EXPRESS"))
    sender, receiver = _party(sheet, writer), _party(sheet, writer)
    items: list[dict[str, str]] = []
    for _ in range(int(random.integers(1, max(2, min(sheet.lines - 5, 10) + 1)))):
        item = _item(sheet, writer)
        if items and tokens({"sender": sender, "receiver": receiver, "items": [*items, item]}) > sheet.longest:
            break
        items.append(item)
    return _Label(title, sender, receiver, items)


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """The title, sender and receiver, each a name and a phone number with the address below, and the items."""
    label = _draw(sheet, writer)
    sheet.row(0, label.title)
    glyphs: list[Glyph] = []
    for line, party in ((1, label.sender), (3, label.receiver)):
        name, phone = sheet.row(line, party["name"], party["phone"])
        (address,) = sheet.row(line + 1, party["address"])
        glyphs += [*name, *address, *phone]
    for line, item in enumerate(label.items, start=5):
        glyphs.extend(glyph for part in sheet.row(line, *item.values()) for glyph in part)
    return label.ground_truth, glyphs


def shifted(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """The title and the addresses at the right margin, the weight of an item before its value."""
    label = _draw(sheet, writer)
    sheet.aligned(0, label.title, 1)
    glyphs: list[Glyph] = []
    for line, party in ((1, label.sender), (3, label.receiver)):
        name, phone = sheet.row(line, party["name"], party["phone"])
        address = sheet.aligned(line + 1, party["address"], 1)
        glyphs += [*name, *address, *phone]
    for line, item in enumerate(label.items, start=5):
        description, weight, value = sheet.row(line, item["description"], item["weight"], item["value"])
        glyphs += [*description, *value, *weight]
    return label.ground_truth, glyphs


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "parcels-mini",
        "embedded parcel labels: sender, receiver, items",
        compose,
        shifted,
        keys=("sender", "receiver", "name", "address", "phone", "items", "description", "value", "weight"),
        stands_for="Parcel Reader",
    )
