"""The report: leaderboard, tables and figures, from records and predictions alone; same files, same bytes."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.records.files import read_records, write_atomically
from benchmark.records.sizes import read_sizes
from benchmark.records.trials import read_trials
from benchmark.report.against import scores_of
from benchmark.report.calibration import write_calibration
from benchmark.report.changes import write_changes
from benchmark.report.costs import write_costs
from benchmark.report.differences import write_differences
from benchmark.report.documents import write_documents
from benchmark.report.figures import write_figures
from benchmark.report.fronts import write_fronts
from benchmark.report.heatmaps import write_heatmaps
from benchmark.report.leaderboard import leaderboard_frame, leaderboard_markdown
from benchmark.report.pareto import write_paretos
from benchmark.report.rates import rates_frame, rates_markdown
from benchmark.report.readme import embed_summary
from benchmark.report.reproduction import write_reproduction
from benchmark.report.sizes import write_sizes_page
from benchmark.report.sparsity import write_sparsities
from benchmark.report.tables import write_tables

__all__ = ["embed_summary", "leaderboard_frame", "rates_frame", "write_report"]


def write_report(directory: Path) -> list[Path]:
    """Write ``leaderboard.md``, ``tables/`` and ``figures/`` into `directory` and return the paths.

    A folder of ``costs.json``, which `costs` writes, has ``costs.md``, and all of this only if it has records too.

    Rates are tabulated where they have been tried (``rates.json``), and ``paper.md`` is written where the paper's
    systems have read what stands for its data sets.

    Raises `UserError` if there are no records, one is broken, or a file cannot be written.
    """
    sizes, records = read_sizes(directory), read_records(directory)
    page = [write_sizes_page(directory, sizes)] if sizes else []
    if page and not records:
        return page
    if not records:
        command = f"python -m benchmark run --output {directory}"
        raise UserError(f"no records in {directory}: run `{command}` first")
    leaderboard, (teds, counts) = directory / "leaderboard.md", scores_of(directory, records)
    write_atomically(leaderboard, leaderboard_markdown(records, teds).encode())
    return [
        leaderboard,
        *page,
        *write_reproduction(directory, records, teds, counts),
        *write_differences(directory, records, teds, counts),
        *write_changes(directory, records),
        *write_calibration(directory, records),
        *write_tables(directory, records),
        *write_costs(directory, records),
        *_write_rates(directory),
        *write_figures(directory, records),
        *write_fronts(directory, records, teds),
        *write_paretos(directory, records, teds),
        *write_documents(directory, records, teds),
        *write_heatmaps(directory, records),
        *write_sparsities(directory, records, teds),
    ]


def _write_rates(directory: Path) -> list[Path]:
    trials = read_trials(directory)
    path = directory / "tables" / "rates.md"
    if trials:
        write_atomically(path, rates_markdown(trials).encode())
    return [path] if trials else []
