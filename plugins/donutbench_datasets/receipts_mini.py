"""Receipts in CORD-v2's schema: menu, sub_total and total, with amounts that add up."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark import Dataset, Glyph, Json, hookimpl
from donutbench_datasets.embedded import embedded
from donutbench_datasets.render import Sheet
from donutbench_datasets.words import Writer, choice, money

_SUBTOTALS = ("SUBTOTAL", "Subtotal", "Sub Total")
_TAXES = ("TAX", "Tax", "VAT")
_TOTALS = ("TOTAL", "Total", "TOTAL DUE")


def _shop(sheet: Sheet, writer: Writer, line: int) -> None:
    if writer.random.random() < 0.7:
        name = writer.company(max(sheet.columns - 4, 12))
        x = (sheet.width - sheet.length(name)) / 2
        sheet.write(name, x, sheet.margin + line * sheet.line_height + sheet.size)


def _item(sheet: Sheet, writer: Writer, line: int) -> tuple[int, Json, list[Glyph]]:
    count, unit = int(writer.random.integers(1, 5)), int(writer.random.integers(10, 400)) * 5
    price, number = money(count * unit), str(count)
    for longest in range(sheet.columns - 7, 7, -1):
        dish = writer.dish(longest)
        if sheet.fits(f"{dish}  {number}  {price}"):
            break
    name, times, paid = sheet.row(line, dish, number, price)
    return count * unit, {"nm": dish, "cnt": number, "price": price}, [*name, *times, *paid]


def _amount(sheet: Sheet, line: int, label: str, cents: int) -> tuple[str, list[Glyph]]:
    _, printed = sheet.row(line, label, money(cents))
    return money(cents), printed


def compose(sheet: Sheet, writer: Writer) -> tuple[Json, list[Glyph]]:
    random = writer.random
    paid_in_cash = sheet.lines >= 7 and random.random() < 0.6
    most = max(1, sheet.lines - (6 if paid_in_cash else 4))
    _shop(sheet, writer, 0)
    menu, glyphs, subtotal = [], [], 0
    for line in range(1, 1 + int(random.integers(1, min(most, 12) + 1))):
        price, item, printed = _item(sheet, writer, line)
        menu.append(item)
        glyphs.extend(printed)
        subtotal += price
    tax = subtotal * int(random.integers(1, 4)) // 20
    amounts = [
        ("subtotal_price", choice(random, _SUBTOTALS), subtotal),
        ("tax_price", choice(random, _TAXES), tax),
        ("total_price", choice(random, _TOTALS), subtotal + tax),
    ]
    if paid_in_cash:
        cash = -(-(subtotal + tax) // 500) * 500
        amounts += [("cashprice", "CASH", cash), ("changeprice", "CHANGE", cash - subtotal - tax)]
    values = {}
    for line, (key, label, cents) in enumerate(amounts, start=1 + len(menu)):
        values[key], printed = _amount(sheet, line, label, cents)
        glyphs.extend(printed)
    sub_total = {key: values.pop(key) for key in ("subtotal_price", "tax_price")}
    # CORD writes a menu of one item as an object, of several as a list.
    return {"menu": menu if len(menu) > 1 else menu[0], "sub_total": sub_total, "total": values}, glyphs


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield embedded(
        "receipts-mini",
        "embedded receipts: menu, sub_total, total",
        compose,
        keys=(
            *("menu", "nm", "cnt", "price"),
            *("sub_total", "subtotal_price", "tax_price"),
            *("total", "total_price", "cashprice", "changeprice"),
        ),
        stands_for="CORD-v2",
    )
