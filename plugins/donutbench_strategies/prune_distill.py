"""DONUT-hole: prune + distill, the mask kept through every step."""

from collections.abc import Iterator

from benchmark import FeatureDistillation, FixedMask, Strategy, hookimpl, magnitude_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-distill",
        summary="prune, then distill from the teacher under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
        paper="DONUT-hole, section 2.2",
        paper_name="DONUT-hole",
    )
