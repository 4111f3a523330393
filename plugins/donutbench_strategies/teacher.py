"""DONUT-base-11M: the reference for CKA and distillation."""

from collections.abc import Iterator

from benchmark import Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="teacher",
        summary="the model to be compressed, as it is",
        start=reference("teacher"),
        paper="DONUT-hole, section 2.1",
        paper_name="DONUT-base-11M",
        reference=True,
    )
