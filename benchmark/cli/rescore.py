"""``rescore``: metrics again, from stored predictions."""

from __future__ import annotations

import typer

from benchmark.cli.options import DirArgument


def rescore(folder: DirArgument) -> None:
    """Compute every metric of DIR's records again from the stored predictions, and write the report."""
    from benchmark.report import write_report
    from benchmark.scoring.rescore import rescore as score_again

    cells, changed = score_again(folder)
    for cell in changed:
        typer.echo(f"{cell}: other scores")
    typer.echo(f"{len(cells)} cells scored again, {len(changed)} with other scores")
    write_report(folder)
