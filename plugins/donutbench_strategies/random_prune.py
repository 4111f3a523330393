"""Control of DONUT-hole: random weights removed, the rest the same, to see what magnitude adds."""

from collections.abc import Iterator

from benchmark import FeatureDistillation, FixedMask, Strategy, hookimpl, random_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="random-prune",
        summary="control: DONUT-hole with weights removed at random",
        start=random_pruned(target="paper-table"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
        task_rate=2.0,
    )
