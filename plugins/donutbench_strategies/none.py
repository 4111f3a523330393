"""DONUT-base-0.5M: the paper's dense baseline, of a smaller corpus."""

from collections.abc import Iterator

from benchmark import CrossEntropy, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="none",
        summary="no compression: the same architecture, trained on 1/22 of the documents",
        start=reference("none"),
        objective=CrossEntropy(),
        rate=0.5,
        trains_upstream=False,
        paper="DONUT-hole, section 2.1",
        paper_name="DONUT-base-0.5M",
    )
