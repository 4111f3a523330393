"""``rescore``: metrics again, from stored predictions."""

from __future__ import annotations

from benchmark.cli.options import DirArgument
from benchmark.cli.printing import echo


def rescore(folder: DirArgument) -> None:
    """Compute every metric of DIR's records again from the stored predictions, and write the report."""
    from benchmark.report import write_report
    from benchmark.scoring.rescore import rescore as score_again

    cells, changed = score_again(folder)
    for cell in changed:
        echo(f"{cell}: other scores")
    echo(f"{len(cells)} cells scored again, {len(changed)} with other scores")
    write_report(folder)
