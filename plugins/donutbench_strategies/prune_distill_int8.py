"""DONUT-hole in int8: prune + distill, the mask kept through every step, then what is left in weights of one byte.

A weight of zero has the code zero, so the mask outlasts the rounding; weights below half a step join it.
"""

from collections.abc import Iterator

from benchmark import FeatureDistillation, FixedMask, Int8, Strategy, hookimpl, magnitude_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-distill-int8",
        summary="prune, then distill from the teacher under the mask, then linear layers in int8",
        start=magnitude_pruned(target="paper-table"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
        finish=Int8(),
        protocols=("task",),
        paper="DONUT-hole, section 2.2; Jacob et al. 2018, section 2.1",
    )
