"""Structured pruning of feed-forward layers: fewer of their units, in encoder and decoder."""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, sliced

ALONE = Strategy(
    name="structured-ffn",
    summary="feed-forward units cut out of the teacher, nothing trained",
    start=sliced("ffn", ratio=0.75),
    paper="McCarley et al. 2019, section 3; the score: Li et al. 2017",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="structured-ffn-distill",
        summary="feed-forward units cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
