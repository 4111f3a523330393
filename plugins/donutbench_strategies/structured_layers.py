"""Structured pruning of depth: fewer decoder layers, and fewer pairs of plain and shifted-window blocks."""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, sliced

ALONE = Strategy(
    name="structured-layers",
    summary="layers cut out of the teacher, nothing trained",
    start=sliced("layers", ratio=0.7, importance="spacing"),
    paper="Fan et al. 2020 (LayerDrop); the spacing: Gandhi et al. 2023 (distil-whisper), section 3",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="structured-layers-distill",
        summary="layers cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
