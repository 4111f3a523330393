"""The summary for a README, between two marks: a table a setting, a row a strategy, a column a data set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from pathlib import Path

import pandas as pd

from benchmark.errors import UserError
from benchmark.records.files import read_records, write_atomically
from benchmark.records.record import Record
from benchmark.records.sizes import read_sizes
from benchmark.report.against import Teds, teds_of
from benchmark.report.columns import NONZERO, PACKED, TED, Column, escaped, markdown, repeats
from benchmark.report.documents import documents_name, scatters
from benchmark.report.drawing import image
from benchmark.report.figures import figure_name, has_curves
from benchmark.report.fronts import families, has_front
from benchmark.report.heatmaps import has_heatmaps, heatmaps_name
from benchmark.report.latency import LATENCY, timing_remarks
from benchmark.report.methods import methods_table
from benchmark.report.pareto import pareto_name
from benchmark.report.ranking import listed, rank
from benchmark.report.rows import Row, Setting, by_setting
from benchmark.report.sizes import sizes_summary
from benchmark.report.sparsity import cliffs, sparsity_name

Sections = dict[Setting, list[Row]]
_COSTS = (NONZERO, PACKED, *LATENCY)
_APART = " †"
_METHODS = "<!-- methods: begin"


def embed_summary(readme: Path, directory: Path) -> None:
    """Replace what stands between the marks of `readme` by the summary of what `directory` has: records, or costs.

    What stands outside of them stays, as do the ends of lines, a link to the file, and its mode. Raises `UserError` if
    the file cannot be read, is not UTF-8 or lacks the marks.
    """
    sizes, records = read_sizes(directory), read_records(directory)
    if sizes is not None:
        _embed(readme, "costs", sizes_summary(sizes, directory.as_posix()))
    if records or sizes is None:
        teds = teds_of(directory, records)
        _embed(readme, "leaderboard", summary_markdown(records, directory.as_posix(), teds))
        if _METHODS in _read_text(readme):
            _embed(readme, "methods", "\n\n".join(methods_markdown(records, teds)))


def _embed(readme: Path, name: str, summary: str) -> None:
    """Between ``<!-- NAME: begin ... -->`` and ``<!-- NAME: end -->``."""
    mark, last = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    text = _read_text(readme)
    head, begin, rest = text.partition(mark)
    first_line, newline, body = rest.partition("\n")
    _, end, tail = body.partition(last)
    if not (begin and newline and end):
        raise UserError(f"{readme} lacks the line {mark} ... --> or the line {last}")
    if first_line.endswith("\r"):  # as the other lines
        summary, newline = summary.replace("\n", "\r\n"), "\r\n"
    begun = head + begin + first_line.removesuffix("\r")
    text = f"{begun}{newline * 2}{summary}{newline * 2}{end}{tail}"
    write_atomically(readme.resolve(), text.encode())  # what a link points to, and not the link


def _read_text(readme: Path) -> str:
    """With the ends of its lines as they are. Raises `UserError` if it cannot be read, or is not UTF-8."""
    try:
        return readme.read_bytes().decode()
    except OSError as error:
        raise UserError(f"cannot read {readme}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{readme} is not UTF-8: byte 0x{byte:02x} at {error.start + 1}") from None


def methods_markdown(records: Sequence[Record], teds: Teds) -> list[str]:
    """The table of methods of the practical protocol, of the paper's where that one was not run."""
    tables = [(of.protocol, sections) for of, sections in _tables(records).items() if not of.options]
    # Of several budgets, scales or devices the one that has the most rows.
    tables.sort(key=lambda table: (table[0] == "task", sum(map(len, table[1].values()))))
    return methods_table(tables[-1][1], teds) if tables else []


def _tables(records: Sequence[Record]) -> dict[Setting, Sections]:
    """The rows of each data set, those together that differ in nothing else but the number of its documents."""
    tables: dict[Setting, Sections] = {}
    for setting, rows in by_setting(records).items():
        tables.setdefault(setting._replace(dataset="", test_documents=0), {})[setting] = rows
    return tables


def summary_markdown(records: Sequence[Record], directory: str, teds: Teds | None = None) -> str:
    """The figures of score against cost, a table for each setting, and the other figures.

    A table has the N-TED accuracy of each strategy on each data set, and what the model costs. Rows with options are
    points of the figures, if there are rows without them. Figures are of a task rather than of the reading set.
    """
    if not any(record.status == "ok" for record in records):
        raise UserError(f"no finished records in {directory}")
    tables = _tables(records)
    plain = {of for of, sections in tables.items() if not of.options and _compares(sections)}
    shown = [sections for of, sections in tables.items() if of in plain or of._replace(options=()) not in plain]
    # The protocol of one's own model comes before the paper's.
    drawn = [(setting, sections[setting]) for sections in reversed(shown) for setting in [_drawn(sections)]]
    fronts = [image(f"Score against cost on {s.dataset}", pareto_name(s), directory) for s, r in drawn if has_front(r)]
    blocks = [block for sections in shown for block in _table(sections)]
    return "\n\n".join([*fronts, *blocks, *_figures(drawn, families(records), directory, teds or {})])


def _drawn(sections: Sections) -> Setting:
    """The setting whose figures are shown: a task with a front, if there is one."""
    tasks = (s for s, rows in sections.items() if rows[0].records[0].task != "reading" and has_front(rows))
    return next(tasks, next(iter(sections)))


def _figures(
    drawn: Sequence[tuple[Setting, Sequence[Row]]],
    related: Mapping[Setting, Sequence[Row]],
    directory: str,
    teds: Teds,
) -> list[str]:
    """One of each other kind, the first that there is."""
    cliff = (s for s, _ in drawn if cliffs(related[s._replace(options=())], teds))
    curve = (s for s, rows in drawn if has_curves(rows))
    layers = (s for s, rows in drawn if has_heatmaps(s, rows))
    scatter = (s for s, rows in reversed(drawn) if scatters(rows, teds))
    return [
        *(image(f"Score against sparsity on {s.dataset}", sparsity_name(s), directory) for s in islice(cliff, 1)),
        *(image("Validation N-TED over training", figure_name(s.dataset), directory) for s in islice(curve, 1)),
        *(image("N-TED of each document", documents_name(s), directory) for s in islice(scatter, 1)),
        *(image("CKA of every layer with the teacher's", heatmaps_name(s), directory) for s in islice(layers, 1)),
    ]


def _compares(sections: Sections) -> bool:
    """Whether there is more than references."""
    return any(not row.reference for rows in sections.values() for row in rows)


def _table(sections: Sections) -> list[str]:
    """The title, the table and what must be said of it, for settings that differ in data set or test size."""
    rows = {setting: {row.strategy: row for row in rows} for setting, rows in sections.items()}
    measured: dict[str, tuple[Column[Row], Setting]] = {_heading(s, sections): (TED, s) for s in sections}
    measured |= {column.heading: (column, _read(sections)) for column in _COSTS}
    apart = {row.strategy for found in sections.values() for row in rank(found).apart}
    names = _ordered(rows, apart)
    cells = [
        [
            name + (_APART if name in apart else ""),
            *("" if (row := rows[s].get(name)) is None else column.text(row) for column, s in measured.values()),
        ]
        for name in names
    ]
    frame = pd.DataFrame(cells, columns=["strategy", *measured], dtype=object)
    said = _said(sections)
    if apart:
        said.append(f"{_APART.strip()} {' '.join(_why_apart(sections))}")
    if remarks := timing_remarks(sections[_read(sections)]):
        said.append(remarks)
    if any(_mean(rows, name) is None for name in names):
        said.append("Rows that lack a score come last, in no order.")
    return [_title(sections), markdown(frame, ["left", *["right"] * len(measured)]), *said]


def _why_apart(sections: Sections) -> list[str]:
    """Why rows have no rank: each sentence once, with the data sets that it is true of."""
    found: dict[str, list[str]] = {}
    for setting, rows in sections.items():
        why = rank(rows).why_apart
        if why:
            found.setdefault(why, []).append(_heading(setting, sections))
    return [f"{listed(headings)}: {why[0].lower()}{why[1:]}" for why, headings in found.items()]


def _said(sections: Sections) -> list[str]:
    """Why seeds give no spread: each sentence once, with the data sets that it is true of."""
    found: dict[str, list[str]] = {}
    for setting, rows in sections.items():
        for line in repeats(rows):
            found.setdefault(line, []).append(_heading(setting, sections))
    return [f"{', '.join(headings)}: {line}" for line, headings in found.items()]


def _title(sections: Sections) -> str:
    sizes = _test_sizes(sections)
    about = f" on {sizes.pop()} test documents" if len(sizes) == 1 else " (test documents in brackets)" if sizes else ""
    rows = [row for found in sections.values() for row in found]
    spread = ", ± the sample standard deviation" if any(row.spread(TED.get) is not None for row in rows) else ""
    read = _read(sections)
    model = "the reading model" if sections[read][0].records[0].task == "reading" else f"the model of {read.dataset}"
    return f"N-TED accuracy{about}, {escaped(read.conditions)}, {_seeds(rows)}{spread}; sizes and latency of {model}:"


def _seeds(rows: Sequence[Row]) -> str:
    """How many seeds the rows have; of the references only if there is nothing else, for they are in other tables."""
    counts = {len(row.records) for row in rows if not row.reference} or {len(row.records) for row in rows}
    least, most = min(counts), max(counts)
    return f"{most} seed{'s' if most > 1 else ''}" if least == most else f"{least} to {most} seeds"


def _heading(setting: Setting, sections: Sections) -> str:
    alike = len(_test_sizes(sections)) == 1 or not setting.test_documents
    return setting.dataset if alike else f"{setting.dataset} ({setting.test_documents})"


def _test_sizes(sections: Sections) -> set[int]:
    return {setting.test_documents for setting in sections if setting.test_documents}


def _read(sections: Sections) -> Setting:
    """The setting whose models' costs are shown: that of the reading set, if it was run."""
    reading = (s for s, rows in sections.items() if rows[0].records[0].task == "reading")
    return next(reading, next(iter(sections)))


def _ordered(rows: dict[Setting, dict[str, Row]], apart: Set[str]) -> list[str]:
    """References first, then by the mean of the scores, those without a rank below; strategies that lack one last."""
    references = {name: row.reference for found in rows.values() for name, row in found.items()}

    def position(name: str) -> tuple[bool, bool, bool, float]:
        mean = _mean(rows, name)
        return not references[name], mean is None, name in apart, -(mean or 0.0)

    return sorted(references, key=position)


def _mean(rows: dict[Setting, dict[str, Row]], name: str) -> float | None:
    """The mean score over the data sets; None if it lacks one."""
    scores = [row.mean(TED.get) if (row := found.get(name)) else None for found in rows.values()]
    present = [score for score in scores if score is not None]
    return statistics.fmean(present) if len(present) == len(scores) else None
