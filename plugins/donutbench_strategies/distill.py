"""DONUT-small-distilled: the small student taught by the teacher."""

from collections.abc import Iterator

from benchmark import FeatureDistillation, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="distill",
        summary="the small student, distilled from the teacher",
        start=reference("small"),
        objective=FeatureDistillation(temperature=2.0),
        rate=0.5,
        task_rate=1.0,
        paper="DONUT-hole, section 2.2",
        paper_name="DONUT-small-distilled",
    )
