"""DONUT-small: a small student without distillation."""

from collections.abc import Iterator

from benchmark import CrossEntropy, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="small",
        summary="a quarter of the weights: smaller Swin, adapter bottleneck, two decoder layers",
        start=reference("small"),
        objective=CrossEntropy(),
        paper="DONUT-hole, section 2.2",
        paper_name="DONUT-small",
    )
