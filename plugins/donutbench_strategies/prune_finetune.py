"""Control of DONUT-hole: the same mask and steps without distillation, to see what that adds."""

from collections.abc import Iterator

from benchmark import CrossEntropy, FixedMask, Strategy, hookimpl, magnitude_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-finetune",
        summary="control: prune, then train under the mask without a teacher",
        start=magnitude_pruned(target="paper-table"),
        objective=CrossEntropy(),
        constraint=FixedMask(),
        rate=0.5,
    )
