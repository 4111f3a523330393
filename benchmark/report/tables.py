"""Tables 1 to 5 of the paper, *reported* beside *measured*, and every record in one CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmark.records.files import write_atomically
from benchmark.records.record import Agreement, Efficiency, Metrics, Part, Record, Timing
from benchmark.report import paper
from benchmark.report.columns import (
    MILLION,
    Column,
    Field,
    Reported,
    Seeds,
    Text,
    csv_text,
    escaped,
    failure_list,
    markdown_table,
    measured,
    repeat_list,
)
from benchmark.report.rows import Get, Row, Setting, by_setting, distinct, efficiency, metric
from benchmark.truth import Losses, ceiling_sentence, several_sentence

_NAMES: tuple[Column[Row], ...] = (
    Text("strategy", "strategy", lambda row: row.strategy),
    Text("paper_name", "the paper's name", lambda row: row.paper_name),
)
_ENDINGS = {"": "value", "_low": "low", "_high": "high"}
_TIMES = [
    f"{name}{end}"
    for name in (*(f"{part}_{what}" for part in get_args(Part) for what in Timing.model_fields), "energy_mj")
    for end in _ENDINGS
]
_ENDS: tuple[Column[Row], ...] = (Seeds(), Text("start", "start", lambda row: row.start))


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper: `stands_for` is the data set that it reports on (Tables 1 and 5: their models)."""

    number: int
    title: str
    notes: str
    columns: tuple[Column[Row], ...]
    stands_for: str | None

    def select(self, settings: dict[Setting, list[Row]]) -> dict[Setting, list[Row]]:
        """The settings that belong in this table.

        One of models takes the reading set, and of a protocol under which that was not run all data sets.
        """
        if self.stands_for is None:
            reading = {setting.protocol for setting in _where(settings, _reads)}
            return _where(settings, lambda record: _reads(record) or record.protocol not in reading)
        return _where(settings, lambda record: record.stands_for == self.stands_for)


def write_tables(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``tables/table1..5.md`` and ``.csv`` and ``tables/all.csv``. Raises `UserError` if that fails."""
    settings = by_setting(records)
    texts = {"all.csv": all_records_csv(records)}
    for table in TABLES:
        chosen = table.select(settings)
        texts[f"table{table.number}.md"] = table_markdown(table, chosen)
        texts[f"table{table.number}.csv"] = table_csv(table, chosen)
    for name, text in texts.items():
        write_atomically(directory / "tables" / name, text.encode())
    return [directory / "tables" / name for name in sorted(texts)]


def table_markdown(table: Table, settings: dict[Setting, list[Row]]) -> str:
    lines = [f"# Table {table.number}: {table.title}", "", table.notes, ""]
    if not settings:
        lines += [f"No records of a data set that stands for {table.stands_for}.", ""]
    for setting, rows in settings.items():
        lines += [f"## {escaped(setting.title)}", "", about_test(rows), "", markdown_table(table.columns, rows), ""]
        lines += [*repeat_list(rows), *failure_list(rows)]
    return "\n".join(lines)


def table_csv(table: Table, settings: dict[Setting, list[Row]]) -> str:
    header = [*Setting._fields, *(name for column in table.columns for name in column.names)]
    fields = [
        [*setting_fields(setting), *_fields(table.columns, row)] for setting, rows in settings.items() for row in rows
    ]
    return csv_text(fields, header)


def all_records_csv(records: Sequence[Record]) -> str:
    """One line a record, every number in full; the curves and layerwise CKA stay in the records."""
    nested = ("metrics", "shifted", "efficiency", "options", "environment", "curve", "upstream_curve")
    maps = ("options", "environment", "teacher_changes", "dataset_options", "fields", "failures")
    phrases = ("seed_changes", "seed_keeps", "dataset_notes")
    top = [name for name in Record.model_fields if name not in nested]
    metrics = [name for name in Metrics.model_fields if not name.startswith("layer") and name != "agreement"]
    metrics += [*(f"teacher_{name}" for name in Agreement.model_fields), "shifted_ted", "shifted_f1"]
    sizes = [name for name in Efficiency.model_fields if name not in ("timings", "energy_mj")]
    header = [*top, *metrics, *sizes, *_TIMES, "options", "environment"]

    def fields(record: Record) -> list[Field]:
        values = record.model_dump()
        values |= {**(values["metrics"] or {}), **(values["efficiency"] or {})}
        values |= {f"teacher_{name}": value for name, value in (values.get("agreement") or {}).items()}
        values |= {f"shifted_{name}": (values["shifted"] or {}).get(name) for name in ("ted", "f1")}
        values |= _times(record.efficiency)
        values |= {name: _json(values[name]) for name in maps if name in values}
        values |= {name: "; ".join(values[name]) for name in phrases}
        return [values.get(name) for name in header]

    ordered = [record for rows in by_setting(records).values() for row in rows for record in row.records]
    # What belongs to several settings is still one record, and so is what belongs to none.
    every = {record.cell: record for record in (*ordered, *records)}
    return csv_text([fields(record) for record in every.values()], header)


def _times(costs: Efficiency | None) -> dict[str, float | None]:
    """What is nested in `Efficiency`, by the names of `_TIMES`."""
    if costs is None:
        return {}
    found = {f"{part}_{what}": interval for part, timing in costs.timings.items() for what, interval in timing}
    found |= {"energy_mj": costs.energy_mj} if costs.energy_mj else {}
    return {f"{name}{end}": getattr(one, of) for name, one in found.items() for end, of in _ENDINGS.items()}


def about_test(rows: Sequence[Row]) -> str:
    """What to know of the test split and the seeds, and what a reader that ignores the page and a perfect one get."""
    records = [record for row in rows for record in row.scored]
    seeds = sorted({record.seed for row in rows for record in row.records})
    text = f"Seed{'s' if len(seeds) > 1 else ''} {distinct(seeds)}"
    if records:
        text += f"; test documents: {distinct(record.test_documents for record in records)}"
    floors = {f"{floor:.3f}" for row in rows for floor in row.values(metric("ted_cannot_read"))}
    text += f"; ted of a reader that cannot read: {distinct(floors)}." if floors else "."
    ceilings = dict.fromkeys(sentence for record in records if (sentence := _ceiling(record)))
    notes = dict.fromkeys(note for record in records for note in [*_several(record), *record.dataset_notes])
    return text + "".join(f" Mind that {sentence}." for sentence in [*ceilings, *map(escaped, notes)])


def _several(record: Record) -> list[str]:
    several = record.metrics.several_truths if record.metrics else None
    sentence = several_sentence(several, record.test_documents)
    return [sentence] if sentence else []


def _ceiling(record: Record) -> str | None:
    scores = record.metrics
    if scores is None:
        return None
    losses = Losses(record.test_documents, scores.truncated_documents or 0, scores.unknown_characters or 0)
    return ceiling_sentence(scores.ted_ceiling, losses)


def _where(settings: dict[Setting, list[Row]], test: Callable[[Record], bool]) -> dict[Setting, list[Row]]:
    return {setting: rows for setting, rows in settings.items() if test(rows[0].records[0])}


def _reads(record: Record) -> bool:
    return record.task == "reading"


def _fields(columns: Sequence[Column[Row]], row: Row) -> list[Field]:
    return [field for column in columns for field in column.fields(row)]


def setting_fields(setting: Setting) -> list[Field]:
    values = setting._asdict()
    return list((values | {"options": _json(dict(setting.options)) if setting.options else None}).values())


def _json(values: Mapping[str, object]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def _configuration(row: Row) -> str | None:
    return paper.CONFIGURATIONS.get(row.paper_name or "")


def _total_nonzero(record: Record) -> float | None:
    sizes = record.efficiency
    return None if sizes is None else (sizes.params_nonzero + sizes.params_embedding) / MILLION


def _millions(key: str, title: str, get: Get, reported: Callable[[paper.Parameters], int]) -> tuple[Column[Row], ...]:
    def look_up(name: str | None) -> float | None:
        row = paper.parameters(name)
        return None if row is None else reported(row)

    return Reported(key, title, look_up, 0), measured(key, title, get)


def _parameters_table() -> Table:
    nonzero = efficiency("params_nonzero", MILLION)
    stored = efficiency("params_nonembedding", MILLION)
    embedding = efficiency("params_embedding", MILLION)
    return Table(
        number=1,
        title="parameters",
        notes="In millions. As in the paper a pruned weight does not count, except under *stored*. "
        "The paper gives three configurations for its six systems.",
        columns=(
            *_NAMES,
            Text("paper_configuration", "configuration", _configuration),
            *_millions("nonembedding", "non-embedding", nonzero, lambda row: row.nonembedding),
            *_millions("embedding", "embedding", embedding, lambda row: row.embedding),
            *_millions("total", "total", _total_nonzero, lambda row: row.total),
            measured("stored_nonembedding", "non-embedding stored", stored),
            measured("density", "density", efficiency("density")),
            *_ENDS,
        ),
        stands_for=None,
    )


def _scores_table(number: int, title: str) -> Table:
    def reported(get: Callable[[paper.Scores], float | None]) -> Callable[[str | None], float | None]:
        def look_up(name: str | None) -> float | None:
            row = paper.scores(number, name)
            return None if row is None else get(row)

        return look_up

    f1: tuple[Column[Row], ...] = (measured("f1", "F1", metric("f1")),)
    if number != 2:  # Table 2 of the paper has no F1.
        f1 = (Reported("f1", "F1", reported(lambda row: row.f1), 2), *f1)
    parameters = "non-embedding (M)"
    return Table(
        number=number,
        title=title,
        notes=f"*Reported*: the paper on {paper.STANDS_FOR[number]}, 1280x960, 768 tokens. *Measured*: our "
        "run on the data set and scale named below. TED is N-TED accuracy. Pruned weights do not count.",
        columns=(
            *_NAMES,
            Reported("nonembedding", parameters, reported(lambda row: row.nonembedding), 0),
            measured("nonembedding", parameters, efficiency("params_nonzero", MILLION)),
            Reported("ted", "TED", reported(lambda row: row.ted), 2),
            measured("ted", "TED", metric("ted")),
            *f1,
            *_ENDS,
        ),
        stands_for=paper.STANDS_FOR[number],
    )


def _cka_table() -> Table:
    return Table(
        number=5,
        title="CKA with the teacher",
        notes="Over all layers. Rows of reading are compared with the reading teacher, rows of a task with that task's "
        "own, the paper's with DONUT-base-11M. *Paper form* is the biased CKA of the paper's Eq. 1 and 2, over *m* "
        "documents. It has three readings, which agree where the decoders are equally deep; otherwise each layer of "
        "the shallower one corresponds to a run of the deeper one's, and A, which the leaderboard shows, compares it "
        "with each layer of the run, B only with the layer of its own index, C with the run as one layer (the sum of "
        "its Grams, each of length 1). The *null floor* is A's mean over all permutations of the documents of these "
        "very features, the *self ceiling* the most that any student of this depth gets in A: what the teacher itself "
        "gets with its runs as layers. The debiased form, read as A, is 0 at the floor.",
        columns=(
            *_NAMES,
            Reported("cka", "CKA", paper.cka, 2),
            measured("cka", "CKA, paper form (A)", metric("cka")),
            measured("cka_index_matched", "index-matched (B)", metric("cka_index_matched")),
            measured("cka_blocks", "summed Grams (C)", metric("cka_blocks")),
            measured("cka_documents", "m", metric("cka_documents"), 0),
            measured("cka_null_floor", "null floor", metric("cka_null_floor")),
            measured("cka_self_ceiling", "self ceiling", metric("cka_self_ceiling")),
            measured("cka_debiased", "CKA, debiased", metric("cka_debiased")),
            *_ENDS,
        ),
        stands_for=None,
    )


TABLES = (
    _parameters_table(),
    _scores_table(2, "reading"),
    _scores_table(3, "information extraction from receipts"),
    _scores_table(4, "information extraction from parcel labels"),
    _cka_table(),
)
