"""What the DONUT-hole paper reports: its Tables 1 to 5, as printed, keyed by the paper's names.

`None` from a look-up means that the paper has no such figure. Parameters are in millions; the paper counts a
pruned weight as absent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """A row of Table 1, in millions of weights."""

    nonembedding: int
    embedding: int
    total: int


@dataclass(frozen=True, slots=True)
class Scores:
    """A row of Tables 2, 3 or 4: millions of non-embedding weights, N-TED accuracy, F1 (none in Table 2)."""

    nonembedding: int
    ted: float
    f1: float | None = None


READING = "SynthDog-EN"
STANDS_FOR = {2: READING, 3: "CORD-v2", 4: "Parcel Reader"}
"""The data set of each table of scores."""

SYSTEMS = (
    "DONUT-base-11M",
    "DONUT-base-0.5M",
    "DONUT-small",
    "DONUT-small-distilled",
    "DONUT-base-pruned",
    "DONUT-hole",
)
"""The paper's systems, in the order of its tables."""

PARAMETERS = {
    "DONUT-base": Parameters(140, 60, 200),
    "DONUT-small": Parameters(37, 29, 66),
    "DONUT-base-pruned": Parameters(37, 60, 97),
}
"""Table 1, which has three configurations for the six systems."""

CONFIGURATIONS = {
    "DONUT-base-11M": "DONUT-base",
    "DONUT-base-0.5M": "DONUT-base",
    "DONUT-small": "DONUT-small",
    "DONUT-small-distilled": "DONUT-small",
    "DONUT-base-pruned": "DONUT-base-pruned",
    "DONUT-hole": "DONUT-base-pruned",
}
"""The row of Table 1 that describes each system (sec. 2.2)."""

SCORES = {
    2: {
        "DONUT-base-0.5M": Scores(140, 0.92),
        "DONUT-small": Scores(37, 0.66),
        "DONUT-small-distilled": Scores(37, 0.83),
        "DONUT-base-pruned": Scores(37, 0.00),
        "DONUT-hole": Scores(37, 0.96),
    },
    3: {
        "DONUT-base-0.5M": Scores(140, 0.76, 0.61),
        "DONUT-small": Scores(37, 0.55, 0.37),
        "DONUT-small-distilled": Scores(37, 0.61, 0.41),
        "DONUT-base-pruned": Scores(37, 0.00, 0.00),
        "DONUT-hole": Scores(37, 0.85, 0.75),
    },
    4: {
        "DONUT-base-0.5M": Scores(140, 0.65, 0.50),
        "DONUT-small": Scores(37, 0.44, 0.26),
        "DONUT-small-distilled": Scores(37, 0.50, 0.35),
        "DONUT-base-pruned": Scores(37, 0.24, 0.05),
        "DONUT-hole": Scores(37, 0.73, 0.57),
    },
}
"""Tables 2, 3 and 4."""

CKA = {
    "DONUT-base-0.5M": 0.93,
    "DONUT-small": 0.84,
    "DONUT-small-distilled": 0.90,
    "DONUT-base-pruned": 0.56,
    "DONUT-hole": 0.79,
}
"""Table 5: CKA with DONUT-base-11M."""


def parameters(paper_name: str | None) -> Parameters | None:
    """Table 1's figures for a system."""
    return PARAMETERS.get(CONFIGURATIONS.get(paper_name or "", ""))


def scores(table: int, paper_name: str | None) -> Scores | None:
    """The figures of table 2, 3 or 4 for a system."""
    return SCORES[table].get(paper_name or "")


def cka(paper_name: str | None) -> float | None:
    """Table 5's figure for a system."""
    return CKA.get(paper_name or "")
