"""Structured pruning of the residual streams: fewer channels in every stage of the encoder and in the decoder."""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, sliced

ALONE = Strategy(
    name="structured-width",
    summary="channels cut out of the teacher, nothing trained",
    start=sliced("width", ratio=0.75),
    paper="Muralidharan et al. 2024 (Minitron), embedding channels",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="structured-width-distill",
        summary="channels cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
