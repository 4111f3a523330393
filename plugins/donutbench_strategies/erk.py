"""ERK: the smaller a matrix, the more of it stays (Evci et al. 2020, section 3; Mocanu et al. 2018).

What stays of a matrix is in proportion to the sum of its sides over their product, at most all of it; within each
matrix the smallest weights go. The paper draws the weights at random and lets them grow elsewhere while it trains
(RigL); here only its allocation is taken, on magnitudes: read against `prune`, it says what the allocation does.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, FixedMask, Strategy, hookimpl, magnitude_pruned

ALONE = Strategy(
    name="erk",
    summary="magnitude pruning that spares small matrices, nothing trained",
    start=magnitude_pruned(allocation="erk"),
    paper="Evci et al. 2020, section 3",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="erk-distill",
        summary="magnitude pruning that spares small matrices, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
