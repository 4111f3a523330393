"""The summary for a README: one row a strategy, one column a data set, between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.errors import UserError
from benchmark.report.figures import figure_name
from benchmark.results import Record, read_records, write_atomically

BEGIN, END = "<!-- leaderboard: begin", "<!-- leaderboard: end -->"


def embed_summary(readme: Path, directory: Path) -> None:
    """Replace what stands between the marks of `readme` by the summary of the records in `directory`.

    Raises `UserError` if the file cannot be read or lacks the marks.
    """
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {readme}: {error.strerror or error}") from error
    head, begin, rest = text.partition(BEGIN)
    first_line, newline, body = rest.partition("\n")
    _, end, tail = body.partition(END)
    if not (begin and newline and end):
        raise UserError(f"{readme} lacks the line {BEGIN} ... --> or the line {END}")
    summary = summary_markdown(read_records(directory), directory.as_posix())
    write_atomically(readme, f"{head}{begin}{first_line}\n\n{summary}\n\n{end}{tail}".encode())


def summary_markdown(records: Sequence[Record], directory: str) -> str:
    """N-TED accuracy of each strategy on each data set (the mean over seeds), and what the model costs."""
    done = [record for record in records if record.status == "ok"]
    if not done:
        raise UserError(f"no finished records in {directory}")
    frame = pd.DataFrame([_row(record) for record in done])
    scores = frame.pivot_table(index="strategy", columns="dataset", values="ted")
    upstream = next((r.dataset for r in done if r.task == "reading"), done[0].dataset)
    costs = frame[frame.dataset == upstream].drop(columns=["dataset", "ted"]).groupby("strategy").mean()
    table = scores.join(costs)
    table = table.loc[scores.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    seeds = sorted({record.seed for record in done})
    lines = [
        f"N-TED accuracy on {min(r.test_documents for r in done)} test documents, scale {done[0].scale}, budget "
        f"{done[0].budget}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}; sizes and latency of the reading model:",
        "",
        table.reset_index().to_markdown(index=False, floatfmt=".3f"),
        "",
        f"![Validation N-TED over training]({directory}/figures/{figure_name(upstream)})",
    ]
    return "\n".join(lines)


def _row(record: Record) -> dict[str, object]:
    assert record.metrics is not None
    cost = record.efficiency
    return {
        "strategy": record.strategy,
        "dataset": record.dataset,
        "ted": record.metrics.ted,
        "nonzero (M)": None if cost is None else cost.params_nonzero / 1e6,
        "packed (MB)": None if cost is None else cost.size_packed_bytes / 1e6,
        "latency p50 (ms)": None if cost is None else cost.latency_ms_p50,
    }
