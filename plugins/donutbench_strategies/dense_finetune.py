"""Control: the dense teacher with the same extra steps: more training is not compression."""

from collections.abc import Iterator

from benchmark import CrossEntropy, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="dense-finetune",
        summary="control: the dense teacher, trained for the same extra steps",
        start=reference("teacher"),
        objective=CrossEntropy(),
        rate=0.25,
    )
