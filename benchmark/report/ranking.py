"""Who is ranked against whom: rows of one setting that trained on the same number of documents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from benchmark.metrics.paired import Sample, detectable
from benchmark.records.record import Record
from benchmark.report.against import Compared, Pair, Teds, compared, samples_of
from benchmark.report.rows import Row, Setting, by_setting, metric

_TED = metric("ted")
_FEWEST = 30
"""Of fewer no order of rows is told: the sampling error of a score can reach 0.18 of 30."""
Documents = tuple[int, ...]
"""The numbers of documents that a row's checkpoints trained on: one, if its seeds agree."""


@dataclass(frozen=True)
class Ranking:
    """The rows of a setting in four groups, each in the order of its lines.

    `references` have what equals them with them. `competing` is the largest group of the others that trained on the
    same number of documents, `apart` those that trained on another number. In `failed` no seed came to an end.
    `samples` are the resamples of the rows of which it is known how they read each document.
    """

    references: tuple[Row, ...]
    competing: tuple[Row, ...]
    apart: tuple[Row, ...]
    failed: tuple[Row, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[tuple[Row, ...], ...]:
        return self.references, self.competing, self.apart, self.failed

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for group in self.groups for row in group)

    @cached_property
    def ranks(self) -> dict[str, str]:
        """The rank of each strategy that has several seeds: one more than how many are decisively better.

        Where documents are not known it is by the printed score. There are no ranks where too few test documents were
        read.
        """
        if self._too_few:
            return {}
        ranked = self._ranked
        if self._seedless and len(ranked) == 1:  # the first of one
            return {}
        return {row.strategy: str(1 + sum(self._better(other, row) for other in ranked)) for row in ranked}

    @property
    def undecided(self) -> str:
        """One sentence on the ranks that rows share, and on whether documents were compared; empty without ranks."""
        if len(self.ranks) < 2:
            return ""
        if not self._pairs:
            return "Ranks are by the scores alone: what was read of each document is not stored here."
        shared: dict[str, list[str]] = {}
        for name, place in self.ranks.items():
            shared.setdefault(place, []).append(name)
        ties = [f"{listed(names)} share rank {place}" for place, names in shared.items() if len(names) > 1]
        open_pairs = sum(not pair.decisive for pair in self._pairs.values())
        if not open_pairs:
            return "The ranking is decisive: each row is told apart from each other one."
        told = f"{open_pairs} of {len(self._pairs)} pairs are not told apart"
        return f"The ranking is not decisive: {'; '.join([*ties, told])}."

    @property
    def detectable(self) -> float | None:
        """The smallest difference between two competing rows that such a test finds in four of five cases."""
        names = [row.strategy for row in self.competing]
        pairs = compared(map(Pair._make, combinations(names, 2)), self.samples)
        return detectable([pair.difference for pair in pairs.values()])

    @property
    def why_unranked(self) -> str:
        """One sentence on why competing rows have no ranks; empty if they have."""
        if self._too_few:
            documents = "1 test document allows" if self._too_few == 1 else f"{self._too_few} test documents allow"
            return f"No ranks: {documents} no ranking, which takes at least {_FEWEST}."
        lacking = self._seedless
        if not lacking:
            return ""
        if self.ranks:
            return f"No rank for {listed(lacking)}: another seed can turn the order, and there is only one checkpoint."
        names = "each row" if len(lacking) == len(self.competing) else listed(lacking)
        where = " that could have a rank" if self.apart and names == "each row" else ""
        return f"No ranks: another seed can turn the order, and of {names}{where} there is only one checkpoint."

    @property
    def why_apart(self) -> str:
        """One sentence on why rows stand below the others, with the numbers; empty if none does."""
        if not self.apart:
            return ""
        found: dict[Documents, list[str]] = {}
        for row in self.apart:
            found.setdefault(_documents(row), []).append(row.strategy)
        above = _counted(_documents(self.competing[0]))
        groups = "; ".join(f"{listed(sorted(names))} on {_counted(documents)}" for documents, names in found.items())
        # The fewest stand last.
        untrained = " (nothing is trained)" if (0,) in found else ""
        return f"Not ranked, for the rows above trained on {above} documents: {groups}{untrained}."

    @property
    def teacher(self) -> str:
        """One sentence on a teacher that had to learn the task first; empty if none had to."""
        documents = {
            record.teacher_documents
            for row in self.rows
            for record in row.scored
            if record.teacher_documents is not None
        }
        number = _counted(tuple(sorted(documents)))
        return f"The teacher did not know the task: it was fine-tuned on {number} documents first." if number else ""

    def remark(self, row: Row) -> str:
        """What a row's name is followed by; empty for most."""
        if row.reference:
            return " (reference)"
        if row in self.apart:
            return " (other documents)"
        same = _same_as(row, self.references)
        return f" (= {same})" if same else ""

    @property
    def _ranked(self) -> list[Row]:
        return [row for row in self.competing if row.strategy not in self._seedless]

    @cached_property
    def _pairs(self) -> dict[Pair, Compared]:
        """Each pair of ranked rows, the one above first; none unless all of them can be compared."""
        names = [row.strategy for row in self._ranked]
        return compared(map(Pair._make, combinations(names, 2)), self.samples) if {*names} <= {*self.samples} else {}

    def _better(self, one: Row, other: Row) -> bool:
        """Whether the first is better than the second, as far as this can be told."""
        if _score(one) <= _score(other):
            return False
        pair = self._pairs.get(Pair(one.strategy, other.strategy))
        return not self._pairs or (pair is not None and pair.decisive)

    @property
    def _too_few(self) -> int | None:
        """The number of test documents if it is too small to rank rows; None if it is not, or nothing was scored."""
        fewest = min((record.test_documents for row in self.rows for record in row.scored), default=0)
        return fewest if 0 < fewest < _FEWEST else None

    @property
    def _seedless(self) -> list[str]:
        """The strategies of which nobody knows what another seed would give."""
        return [row.strategy for row in self.competing if len(row.distinct) < 2 and not row.deterministic]


def rankings(records: Iterable[Record], teds: Teds | None = None) -> dict[Setting, Ranking]:
    """The leaderboard's sections, in their order; with the `teds` of documents rows are compared on the same ones."""
    return {setting: rank(rows, teds) for setting, rows in by_setting(records).items()}


def rank(rows: Sequence[Row], teds: Teds | None = None) -> Ranking:
    """The rows of one setting, by score in each group. Keeps the order of equals."""
    references = [row for row in rows if row.reference or _same_as(row, rows)]
    failed = [row for row in rows if row not in references and not row.scored]
    groups: dict[Documents, list[Row]] = {}
    for row in sorted(rows, key=_score, reverse=True):
        if row not in references and row not in failed:
            groups.setdefault(_documents(row), []).append(row)
    # Of groups of the same size it is the one that trained longer.
    largest = max(groups, key=lambda number: (len(groups[number]), number), default=())
    apart = (row for number in sorted(groups, reverse=True) if number != largest for row in groups[number])
    return Ranking(
        references=tuple(sorted(references, key=lambda row: (not row.reference, -_score(row)))),
        competing=tuple(groups.get(largest, ())),
        apart=tuple(apart),
        failed=tuple(failed),
        samples=samples_of(rows, teds or {}),
    )


def listed(words: Sequence[str]) -> str:
    """Words as "a, b and c"; there is at least one."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _same_as(row: Row, rows: Sequence[Row]) -> str | None:
    """The reference whose very checkpoint a row is."""
    hashes = {record.model_hash for record in row.scored}
    if row.reference or not hashes:
        return None
    references = (other for other in rows if other.reference)
    known = ((other.strategy, {record.model_hash for record in other.scored} - {None}) for other in references)
    return next((strategy for strategy, theirs in known if hashes <= theirs), None)


def _documents(row: Row) -> Documents:
    """Of a strategy's own training alone: what its start had seen before decides nothing."""
    return tuple(sorted({record.documents for record in row.scored}))


def _counted(number: Documents) -> str:
    return " or ".join(f"{documents:,}" for documents in number)


def _score(row: Row) -> float:
    mean = row.mean(_TED)
    return -math.inf if mean is None else round(mean, 3)
