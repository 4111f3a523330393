"""Receipts in CORD-v2's schema: menu, sub_total and total, with amounts that add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmark import Dataset, Glyph, Json, hookimpl
from donutbench_datasets.embedded import embedded
from donutbench_datasets.render import Sheet
from donutbench_datasets.words import Writer, choice, money

_SUBTOTALS = ("SUBTOTAL", "Subtotal", "Sub Total")
_TAXES = ("TAX", "Tax", "VAT")
_TOTALS = ("TOTAL", "Total", "TOTAL DUE")


@dataclass(frozen=True, slots=True)
class _Receipt:
    """What is printed: `amounts` are pairs of a label and a value by key, in the order of the ground truth."""

    shop: str | None
    items: list[dict[str, str]]
    amounts: dict[str, tuple[str, str]]

    @property
    def ground_truth(self) -> Json:
        values = {key: value for key, (_, value) in self.amounts.items()}
        sub_total = {key: values.pop(key) for key in ("subtotal_price", "tax_price")}
        # CORD writes a menu of one item as an object, of several as a list.
        menu = self.items if len(self.items) > 1 else self.items[0]
        return {"menu": menu, "sub_total": sub_total, "total": values}


def _item(sheet: Sheet, writer: Writer) -> tuple[int, dict[str, str]]:
    count, unit = int(writer.random.integers(1, 5)), int(writer.random.integers(10, 400)) * 5
    price, number = money(count * unit), str(count)
    for longest in range(sheet.columns - 7, 7, -1):
        dish = writer.dish(longest)
        if sheet.fits(f"{dish}  {number}  {price}"):
            break
    return count * unit, {"nm": dish, "cnt": number, "price": price}


def _draw(sheet: Sheet, writer: Writer) -> _Receipt:
    random = writer.random
    paid_in_cash = sheet.lines >= 7 and random.random() < 0.6
    most = max(1, sheet.lines - (6 if paid_in_cash else 4))
    shop = writer.company(max(sheet.columns - 4, 12)) if random.random() < 0.7 else None
    count = int(random.integers(1, min(most, 12) + 1))
    prices, items = zip(*(_item(sheet, writer) for _ in range(count)), strict=True)
    subtotal = sum(prices)
    tax = subtotal * int(random.integers(1, 4)) // 20
    amounts = {
        "subtotal_price": (choice(random, _SUBTOTALS), money(subtotal)),
        "tax_price": (choice(random, _TAXES), money(tax)),
        "total_price": (choice(random, _TOTALS), money(subtotal + tax)),
    }
    if paid_in_cash:
        cash = -(-(subtotal + tax) // 500) * 500
        amounts |= {"cashprice": ("CASH", money(cash)), "changeprice": ("CHANGE", money(cash - subtotal - tax))}
    return _Receipt(shop, list(items), amounts)


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """The shop in the middle of the first line, the items, and below them the amounts at the right margin."""
    receipt = _draw(sheet, writer)
    if receipt.shop is not None:
        sheet.aligned(0, receipt.shop, 0.5)
    glyphs: list[Glyph] = []
    for line, item in enumerate(receipt.items, start=1):
        glyphs.extend(glyph for part in sheet.row(line, *item.values()) for glyph in part)
    for line, amount in enumerate(receipt.amounts.values(), start=1 + len(receipt.items)):
        _, printed = sheet.row(line, *amount)
        glyphs.extend(printed)
    return receipt.ground_truth, glyphs


def shifted(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    """The shop at a margin, the price of an item before its count, the amounts at the left, beside their labels."""
    receipt = _draw(sheet, writer)
    if receipt.shop is not None:
        sheet.aligned(0, receipt.shop, int(writer.random.integers(0, 2)))
    glyphs: list[Glyph] = []
    for line, item in enumerate(receipt.items, start=1):
        name, price, count = sheet.row(line, item["nm"], item["price"], item["cnt"])
        glyphs += [*name, *count, *price]
    for line, (label, value) in enumerate(receipt.amounts.values(), start=1 + len(receipt.items)):
        glyphs.extend(sheet.aligned(line, f"{label}  {value}", 0)[-len(value) :])
    return receipt.ground_truth, glyphs


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "receipts-mini",
        "embedded receipts: menu, sub_total, total",
        compose,
        shifted,
        keys=(
            *("menu", "nm", "cnt", "price"),
            *("sub_total", "subtotal_price", "tax_price"),
            *("total", "total_price", "cashprice", "changeprice"),
        ),
        stands_for="CORD-v2",
    )
