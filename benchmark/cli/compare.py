"""``compare``: two strategies on the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import DirArgument
from benchmark.cli.printing import echo

if TYPE_CHECKING:
    from benchmark.report.compare import Comparison


def compare(
    folder: DirArgument,
    first: Annotated[str, typer.Argument(metavar="A", help="A strategy.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The strategy that it is compared with.")],
) -> None:
    """Print how much better A reads than B on the same documents of DIR, with 95 % intervals (paired bootstrap)."""
    from benchmark.report.compare import compare as compare_rows

    for comparison in compare_rows(folder, first, second):
        echo("\n".join(_lines(comparison, first, second)) + "\n")


def _lines(comparison: Comparison, first: str, second: str) -> Iterator[str]:
    yield comparison.setting
    yield f"  {first} - {second}: N-TED {comparison.ted}, F1 {comparison.f1}"
    if not comparison.ted.decisive:
        yield "  The interval of N-TED holds 0: these documents and seeds do not tell which of the two reads better."
    alike = comparison.documents - comparison.better - comparison.worse
    yield f"  {comparison.better} documents are read better by {first}, {comparison.worse} by {second}, {alike} alike"
    for apart in comparison.most:
        yield f"    {apart.document}: {apart.first:.3f} and {apart.second:.3f}"
