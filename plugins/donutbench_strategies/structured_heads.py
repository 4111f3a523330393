"""Structured pruning of attention: fewer heads, of self- and cross-attention, in encoder and decoder."""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, sliced

ALONE = Strategy(
    name="structured-heads",
    summary="attention heads cut out of the teacher, nothing trained",
    start=sliced("heads", ratio=0.75),
    paper="Michel et al. 2019; Voita et al. 2019",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="structured-heads-distill",
        summary="attention heads cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
