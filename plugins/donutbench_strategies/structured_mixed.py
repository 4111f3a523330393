"""Structured pruning of several kinds at once: half of the multiply-accumulates, split over layers and FFN units."""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, mixed

ALONE = Strategy(
    name="structured-mixed",
    summary="layers and feed-forward units cut out of the teacher, nothing trained",
    start=mixed(ratio=0.5, layers=0.83),
    paper="Muralidharan et al. 2024 (Minitron), depth and width together",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="structured-mixed-distill",
        summary="layers and feed-forward units cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
