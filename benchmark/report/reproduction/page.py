"""``paper.md``: each result of the paper beside ours, and whether it holds here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark.records.record import Record
from benchmark.report.columns import escaped, markdown, number
from benchmark.report.ranking import listed
from benchmark.report.reproduction.agreement import Agreement, Correlation, agreements
from benchmark.report.reproduction.claims import (
    CLAIMS,
    TASK,
    UPSTREAM,
    Claim,
    Outcome,
    Untested,
    Way,
    by_claim,
    outcomes,
    upstream_documents,
)
from benchmark.report.reproduction.convergence import SHARE, Convergence, Race, races
from benchmark.report.reproduction.costs import costs
from benchmark.report.reproduction.similarity import HIGH, OBSERVATIONS, Finding, findings
from benchmark.report.reproduction.study import Study
from benchmark.report.reproduction.verdict import VERDICTS
from benchmark.report.rows import Row, distinct

_TABLES = {2: "reading", 3: "receipts", 4: "parcel labels", 5: "CKA with the teacher, on reading"}


def reproduction_markdown(studies: Sequence[Study]) -> str:
    """The page, of one study or more."""
    lines = ["# The paper's results, tested here", "", *_how_to_read()]
    for study in studies:
        lines += _study(study)
    return "\n".join(lines)


def _how_to_read() -> list[str]:
    return [
        "The DONUT-hole paper (Shaikh et al.) reports scores of single models, without intervals. Here a claim is a "
        "difference in N-TED accuracy of two rows on the same test documents, with a 95 % interval of a paired "
        "bootstrap over documents and, where a row has several, over its checkpoints. It *holds* if the difference is "
        "above 0 with p < 0.05, *does not hold* if it is below with p < 0.05, and is *not decided* otherwise, which is "
        "no evidence that the two are equal. p is corrected for the number of all tests of the scale (Holm). Of rows "
        "with one checkpoint neither says what another seed would give.",
        "",
    ]


def _study(study: Study) -> list[str]:
    tested, untested = outcomes(study)
    tables = agreements(study)
    return [
        *_about(study),
        *_short(tested),
        *_tables(tables),
        *_claims(tested),
        *_convergence(races(study)),
        *_similarity(findings(study)),
        *costs(study),
        *_missing(untested),
    ]


def _about(study: Study) -> list[str]:
    setting = next(iter(study.settings))
    records = list(study.records)
    conditions = [f"scale {setting.scale}", f"budget {setting.budget}", f"device {setting.device}"]
    conditions += [] if setting.limit is None else [f"limit {setting.limit}"]
    stand = {record.dataset: record.stands_for for record in records if record.stands_for}
    stands = listed([f"{ours} ({theirs})" for ours, theirs in stand.items()])
    weights = _largest(study)
    return [
        f"## {escaped(', '.join(conditions))}",
        "",
        f"The paper's models have 200M weights and read documents of 1280x960; ours have {weights:.2g}M at most, and "
        f"the data sets that stand for the paper's are {escaped(stands)}. Its absolute numbers, such as 0.96 in "
        "reading or the '17 %' that distillation gains there, are those of its own size and documents: other models on "
        "other documents neither meet nor miss them. What is tested is the sign of differences and the order of "
        f"systems. Seeds {distinct(record.seed for record in records)}; "
        f"{distinct(record.test_documents for record in records)} test documents a data set.",
        "",
    ]


def _largest(study: Study) -> float:
    sizes = [record.efficiency.params_total for record in study.records if record.efficiency]
    return max(sizes, default=0) / 1e6


def _short(tested: Sequence[Outcome]) -> list[str]:
    """Every claim in a line."""
    if not tested:
        return []
    numbers = _numbers()
    cells = [
        [numbers[claim], f"{claim.text}.", *(_where(found, verdict) for verdict in VERDICTS)]
        for claim, found in by_claim(tested).items()
    ]
    head = ["#", "claim", *VERDICTS]
    return ["### In short", "", _table(head, cells, right=1), ""]


def _numbers() -> dict[Claim, str]:
    return {claim: str(number) for number, claim in enumerate(CLAIMS, 1)}


def _where(found: Sequence[Outcome], verdict: str) -> str:
    return ", ".join(_place(one.dataset, one.way) for one in found if one.verdict == verdict)


def _place(dataset: str, way: Way) -> str:
    return f"{dataset} (task)" if way == TASK else dataset


def _tables(tables: Sequence[Agreement]) -> list[str]:
    if not tables:
        return []
    lines = [
        "### Tables 2 to 5",
        "",
        "*Reported* is the paper's, *measured* ours under the protocol `paper`, in brackets a 95 % interval. Rank 1 is "
        "the best. Spearman's rho compares the ranks; its interval says how it moves with other documents and seeds, "
        "its p how often a random order of as many systems is as far from 0 (exact, two-sided). Of five systems a "
        "perfect order has p = 0.017 and one with two neighbours swapped 0.083: only the first is told from chance.",
        "",
    ]
    for table in sorted(tables, key=lambda one: one.table):
        lines += [
            f"**Table {table.table}, {_TABLES[table.table]}: {table.metric} on {escaped(table.dataset)}.** "
            + _correlation(table.correlation),
            "",
            _agreement(table),
            "",
        ]
    return lines


def _correlation(found: Correlation | None) -> str:
    if found is None:
        return "No rank correlation: it takes three systems that differ."
    interval = "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"rho = {found.value:.2f}{interval}, p = {found.p:.3f} ({found.systems} systems)."


def _agreement(table: Agreement) -> str:
    cells = [
        [one.name, number(one.reported, 2), _interval(one.measured, one.low, one.high), f"{theirs:g}", f"{ours:g}"]
        for one, (theirs, ours) in zip(table.systems, table.ranks, strict=True)
    ]
    head = ["system", "reported", "measured", "rank reported", "rank measured"]
    return _table(head, cells, left=1)


def _interval(value: float, low: float | None, high: float | None) -> str:
    return number(value, 3) + ("" if low is None or high is None else f" [{number(low, 3)}, {number(high, 3)}]")


def _claims(tested: Sequence[Outcome]) -> list[str]:
    if not tested:
        return []
    lines = [
        "### Claims",
        "",
        "*Documents* were read in training by the models that a row began from, then by its own training; where they "
        "are not as many, that is a part of the difference. *(task)* marks the protocol `task`, under which all rows "
        "train on the task alone and on the same documents of it; the others are of the protocol `paper`, as the paper "
        "did it. Claims of equality are tested like the others: the best that can be found of them, short of a gain, "
        "is *not decided*. The intervals of F1 are not corrected, and decide nothing.",
        "",
    ]
    for claim, found in by_claim(tested).items():
        lines += [f"**{_numbers()[claim]}. {escaped(claim.text)}.** ({escaped(claim.source)})", ""]
        lines += [_outcomes(claim, found), "", *_upstream(claim, found)]
    return lines


def _outcomes(claim: Claim, found: Sequence[Outcome]) -> str:
    names = f"{claim.ours} - {claim.theirs}" if claim.ours != claim.theirs else f"{claim.ours}: paper - task"
    columns = {
        "data set": [_place(one.dataset, one.way) for one in found],
        "verdict": [str(one.verdict) for one in found],
        f"N-TED, {names}": [str(one.ted) for one in found],
        "p": [f"{one.p:.3f}" for one in found],
        "reported": ["" if one.reported is None else f"{one.reported:+.2f}" for one in found],
        "F1": ["" if one.f1 is None else str(one.f1) for one in found],
        "documents, ours": [_documents(one.ours) for one in found],
        "documents, theirs": [_documents(one.theirs) for one in found],
    }
    known = {head: cells for head, cells in columns.items() if any(cells)}
    return _table(list(known), list(zip(*known.values(), strict=True)), left=2)


def _documents(row: Row) -> str:
    starts = distinct(record.start_documents for record in row.scored)
    own = distinct(record.documents for record in row.scored)
    return " + ".join(f"{int(text):,}" if text.isdigit() else text for text in (starts, own))


def _upstream(claim: Claim, found: Sequence[Outcome]) -> list[str]:
    """The two ways read documents of different kinds, which their number does not say."""
    if claim.ways != (UPSTREAM,):
        return []
    ours, theirs = (_one(row) for row in (found[0].ours, found[0].theirs))
    reading = upstream_documents(ours)
    return [
        f"The documents differ in kind. Upstream, the pruned model is trained on {reading:,} documents of the reading "
        f"set, then on {ours.documents - reading:,} of the task; on the task, it is pruned from a teacher that knows "
        f"the task already, and trained on {theirs.documents:,} documents of the task. This tells what each way gives "
        "in practice, not which is better at equal documents.",
        "",
    ]


def _one(row: Row) -> Record:
    return row.scored[0]


def _convergence(found: Sequence[Race]) -> list[str]:
    if not found:
        return []
    lines = [
        "### Convergence",
        "",
        "Sec. 4.2 and Figure 4 say that DONUT-hole converges faster than the others. Steps (mean over checkpoints) to "
        f"{SHARE} of a row's own final validation score, and, since a row that ends low comes near its end early, to a "
        f"level common to all: {SHARE} of the lowest final score of the paper's systems. Scores are known only at each "
        "validation. It holds if every checkpoint of DONUT-hole is sooner than every one of the paper's other systems, "
        "and does not hold if every one is later than those of one of them.",
        "",
    ]
    for race in found:
        protocol = " (task)" if race.protocol == "task" else ""
        lines += [
            f"**{escaped(race.dataset)}{protocol}**, validated every {race.every} of {race.steps:,} steps. "
            f"To its own level: {race.own}. To the common level ({race.level:.3f}): {race.common}.",
            "",
            _table(
                ["strategy", "final score", "steps to its own", "steps to the common"],
                [_runner(one) for one in race.runners],
                left=1,
            ),
            "",
        ]
    return lines


def _runner(one: Convergence) -> list[str]:
    name = one.strategy + (f" ({one.paper_name})" if one.paper_name else "")
    return [name, number(statistics.fmean(one.finals), 3), _steps(one.own), _steps(one.common)]


def _steps(steps: Sequence[int | None]) -> str:
    known = [step for step in steps if step is not None]
    return f"{statistics.fmean(known):,.0f}" if len(known) == len(steps) else "not reached"


def _similarity(found: Mapping[str, Sequence[Finding | str]]) -> list[str]:
    if not found:
        return []
    cells = [
        [f"{observation.text} ({observation.source})", *(_finding(found[dataset][place]) for dataset in found)]
        for place, observation in enumerate(OBSERVATIONS)
    ]
    return [
        "### Similarity (section 4.4)",
        "",
        "CKA with the teacher in the paper's form, under the protocol `paper`, over the networks of Table 5: means "
        "over checkpoints, and ranges over networks. The teacher is that of reading or the task's own. A layer's "
        "counterpart is the teacher's of the same name; that of the last decoder layer is the teacher's last. CKA is "
        "stored of a model, not of a document, so there are no intervals: an observation holds if all checkpoints "
        "agree, does not hold if those of a network agree that it does not, and is not decided otherwise. "
        f"{HIGH} is the lowest similarity in Table 5 that the paper calls high.",
        "",
        _table(["observation", *found], cells, left=1 + len(found)),
        "",
    ]


def _finding(found: Finding | str) -> str:
    return found if isinstance(found, str) else f"{found.verdict}: {found.numbers}"


def _missing(untested: Sequence[Untested]) -> list[str]:
    if not untested:
        return []
    numbers = _numbers()
    found: dict[tuple[str, str], list[str]] = {}
    for one in untested:
        found.setdefault((numbers[one.claim], one.why), []).append(_place(one.dataset, one.way))
    lines = [f"- {claim} on {escaped(', '.join(places))}: {escaped(why)}" for (claim, why), places in found.items()]
    return ["### Not tested", "", *lines, ""]


def _table(head: Sequence[str], cells: Sequence[Sequence[str]], left: int = 0, right: int = 0) -> str:
    """In Markdown; the first `left` columns are of words and the others of numbers, or the first `right` of numbers."""
    align = ["left" if place < left or right else "right" for place in range(len(head))]
    align[:right] = ["right"] * right
    return markdown(pd.DataFrame(list(map(list, cells)), columns=list(head), dtype=object), align)
