"""Control: the dense teacher with the same steps on the task: more training is not compression."""

from collections.abc import Iterator

from benchmark import CrossEntropy, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="dense-finetune",
        summary="control: the dense teacher, trained on the task for as many steps",
        start=reference("teacher"),
        objective=CrossEntropy(),
        trains_upstream=False,
        rate=0.5,
        task_rate=0.125,
    )
