"""What another seed changes of the rows of a setting, and what it keeps: what the spread is the spread of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.records.record import Record
from benchmark.report.ranking import listed
from benchmark.report.rows import Row


def seeds_sentence(rows: Sequence[Row]) -> str:
    """One sentence over all rows but the references; empty where no record says anything."""
    telling = [row for row in rows if not row.reference and any(_tells(record) for record in row.scored)]
    if not telling:
        return ""
    changes = _phrases(telling, lambda record: record.seed_changes)
    keeps = _phrases(telling, lambda record: record.seed_keeps)
    text = f"Another seed changes {listed(changes) if changes else 'nothing'}"
    if keeps:
        text += f"; it keeps {listed(keeps)}"
        text += ", so the spread is that of the task alone" if _upstream_is_kept(telling) else ""
    return text + "."


def _tells(record: Record) -> bool:
    return bool(record.seed_changes or record.seed_keeps)


def _upstream_is_kept(rows: Sequence[Row]) -> bool:
    """Whether a seed changes nothing of what any row has read before the task."""
    records = [record for row in rows for record in row.scored]
    kept = any("upstream" in phrase for record in records for phrase in record.seed_keeps)
    tasks = all((record.protocol, record.task) == ("paper", "extraction") for record in records)
    return kept and tasks and not any(map(_reads_anew, records))


def _reads_anew(record: Record) -> bool:
    trainings = [phrase for phrase in record.seed_changes if "training documents" in phrase]
    return any(f" of {record.dataset} " not in phrase for phrase in trainings)


def _phrases(rows: Sequence[Row], get: Callable[[Record], list[str]]) -> list[str]:
    """Each phrase once, with the strategies that it holds for if it does not for all."""
    holders: dict[str, list[str]] = {}
    for row in rows:
        for phrase in dict.fromkeys(phrase for record in row.scored for phrase in get(record)):
            holders.setdefault(phrase, []).append(row.strategy)
    return [phrase + _whose(names, [row.strategy for row in rows]) for phrase, names in holders.items()]


def _whose(names: Sequence[str], everyone: Sequence[str]) -> str:
    others = [name for name in everyone if name not in names]
    if not others:
        return ""
    return f" (of {listed(names)})" if len(names) <= len(others) else f" (not of {listed(others)})"
