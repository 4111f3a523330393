"""Control: the dense teacher, distilled on the task for the same steps: what pruning costs is read against it."""

from collections.abc import Iterator

from benchmark import FeatureDistillation, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="dense-distill",
        summary="control: the dense teacher, distilled on the task for as many steps",
        start=reference("teacher"),
        objective=FeatureDistillation(temperature=2.0),
        trains_upstream=False,
        task_rate=0.125,
    )
