"""What the paper says of two systems, each as a difference of two rows on the same documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.metrics.paired import LEVEL, Difference, holm
from benchmark.records.record import Record
from benchmark.report import paper
from benchmark.report.reproduction.study import Study
from benchmark.report.reproduction.verdict import Verdict, positive
from benchmark.report.rows import Row
from benchmark.types import ProtocolName

Way = tuple[ProtocolName, ProtocolName]
"""The protocols of ours and of theirs."""
PAPER: Way = ("paper", "paper")
TASK: Way = ("task", "task")
UPSTREAM: Way = ("paper", "task")


@dataclass(frozen=True, slots=True)
class Claim:
    """`ours` reads better than `theirs`, in N-TED accuracy: `text` says it, `source` where the paper does."""

    text: str
    source: str
    ours: str
    theirs: str
    ways: tuple[Way, ...] = (PAPER, TASK)


CLAIMS = (
    Claim(
        "DONUT-hole surpasses its dense baseline DONUT-base-0.5M",
        "sec. 4.2 and 4.3, Tables 2 to 4, Figure 3c",
        "prune-distill",
        "none",
    ),
    Claim(
        "DONUT-hole reads as well as DONUT-base-11M, the teacher that it is made of",
        "abstract and sec. 5: 'preserving performance'; no score of this teacher is reported",
        "prune-distill",
        "teacher",
    ),
    Claim(
        "Pruning costs nothing: DONUT-hole reads as well as the same model distilled without pruning, at equal steps",
        "not in the paper: the control that 'preserving performance' needs",
        "prune-distill",
        "dense-distill",
        (TASK,),
    ),
    Claim(
        "DONUT-hole surpasses the best of the other compressed models, DONUT-small-distilled",
        "sec. 4.2, sec. 5, Tables 2 to 4",
        "prune-distill",
        "distill",
    ),
    Claim(
        "Distillation improves DONUT-small",
        "sec. 4.2 and 4.3, Tables 2 to 4: 'an impressive 17 %' in reading",
        "distill",
        "small",
    ),
    Claim(
        "DONUT-base-0.5M surpasses DONUT-small",
        "sec. 4.3, Figure 3a, Tables 2 to 4",
        "none",
        "small",
        (PAPER,),
    ),
    Claim(
        "DONUT-base-0.5M surpasses DONUT-small-distilled too",
        "sec. 4.2, Figure 3b, Tables 2 to 4",
        "none",
        "distill",
        (PAPER,),
    ),
    Claim(
        "Pruning alone ruins the model: DONUT-base-pruned reads worse than the next worst, DONUT-small",
        "sec. 4.2 and 4.3, Tables 2 to 4",
        "small",
        "prune",
        (PAPER,),
    ),
    Claim(
        "Distillation after pruning restores the model: DONUT-hole surpasses DONUT-base-pruned",
        "sec. 4.2 and 4.3, Tables 2 to 4",
        "prune-distill",
        "prune",
        (PAPER,),
    ),
    Claim(
        "It is distillation that restores it: at equal steps it surpasses fine-tuning of the pruned model",
        "sec. 4.2: 'distillation ... seems to reestablish ... previously broken connections'; fine-tuning is not in "
        "the paper",
        "prune-distill",
        "prune-finetune",
    ),
    Claim(
        "Without pruning too, distillation surpasses fine-tuning at equal steps",
        "sec. 4.2: 'a valuable training strategy'; not in the paper",
        "dense-distill",
        "dense-finetune",
    ),
    Claim(
        "It matters which weights are pruned: DONUT-hole surpasses the same of randomly pruned weights",
        "sec. 4.2: 'the lower magnitude parameters ... are likely redundant'; random pruning is not in the paper",
        "prune-distill",
        "random-prune",
    ),
    Claim(
        "Pruning upstream surpasses pruning on the task",
        "sec. 1: 'the potential benefits of upstream pruning over downstream pruning'; the paper prunes upstream only "
        "and leaves it open",
        "prune-distill",
        "prune-distill",
        (UPSTREAM,),
    ),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A claim on one data set: the differences are ours minus theirs, `f1` where the paper has it.

    `p` is that of N-TED, corrected for all outcomes of the page.
    """

    claim: Claim
    dataset: str
    way: Way
    ours: Row
    theirs: Row
    ted: Difference
    f1: Difference | None
    p: float = 1.0

    @property
    def reported(self) -> float | None:
        """The paper's difference of N-TED."""
        if self.way != PAPER:
            return None
        tables = {name: table for table, name in paper.STANDS_FOR.items()}
        table = tables[self.ours.records[0].stands_for or ""]
        found = [paper.scores(table, row.paper_name) for row in (self.ours, self.theirs)]
        return found[0].ted - found[1].ted if found[0] and found[1] else None

    @property
    def verdict(self) -> Verdict:
        return positive(self.ted.value, self.p < LEVEL)


@dataclass(frozen=True, slots=True)
class Untested:
    """A claim that could not be tested on a data set, and why."""

    claim: Claim
    dataset: str
    way: Way
    why: str


def outcomes(study: Study, claims: Sequence[Claim] = CLAIMS) -> tuple[list[Outcome], list[Untested]]:
    """Each claim on each data set that was run under its protocols, and what could not be tested there."""
    tested, untested = [], []
    for claim, way, dataset in _places(study, claims):
        found = _tested(study, claim, way, dataset)
        if isinstance(found, Outcome):
            tested.append(found)
        else:
            untested.append(Untested(claim, dataset, way, found))
    corrected = holm([outcome.ted.p for outcome in tested])
    return [replace(outcome, p=p) for outcome, p in zip(tested, corrected, strict=True)], untested


def _places(study: Study, claims: Sequence[Claim]) -> Iterator[tuple[Claim, Way, str]]:
    for claim in claims:
        for way in claim.ways:
            for dataset in study.datasets:
                if all(study.rows(dataset, protocol) for protocol in way):
                    yield claim, way, dataset


def _tested(study: Study, claim: Claim, way: Way, dataset: str) -> Outcome | str:
    """The outcome, or why there is none."""
    names = (claim.ours, claim.theirs)
    rows = [study.rows(dataset, protocol).get(name) for name, protocol in zip(names, way, strict=True)]
    missing = [name for name, row in zip(names, rows, strict=True) if row is None]
    if missing:
        return f"no row of {' and '.join(missing)}"
    ours, theirs = (row for row in rows if row is not None)
    if _hashes(ours) == _hashes(theirs) != {None}:
        return "the two are one and the same checkpoint"
    scores = [study.scores_of(row) for row in (ours, theirs)]
    if scores[0] is None or scores[1] is None:
        return "the predictions of a row are not stored, or not those of its record"
    if scores[0].names != scores[1].names:
        return "the two have read other documents"
    # Two rows of one name would draw the same checkpoints.
    first, second = names if claim.ours != claim.theirs else way
    ted = scores[0].ted(first).minus(scores[1].ted(second))
    reads = ours.records[0].task == "reading"  # the paper has no F1 there
    f1 = None if reads else scores[0].f1(first).minus(scores[1].f1(second))
    return Outcome(claim, dataset, way, ours, theirs, ted, f1)


def _hashes(row: Row) -> set[str | None]:
    return {record.model_hash for record in row.distinct}


def upstream_documents(record: Record) -> int:
    """The documents of the upstream set among `Record.documents`; 0 where the upstream training is not known."""
    if not record.upstream_curve or not record.steps:
        return 0
    return round(record.documents / record.steps * record.upstream_curve[-1][0])


def by_claim(tested: Sequence[Outcome]) -> Mapping[Claim, list[Outcome]]:
    """In the order of the claims."""
    found: dict[Claim, list[Outcome]] = {}
    for outcome in tested:
        found.setdefault(outcome.claim, []).append(outcome)
    return found
