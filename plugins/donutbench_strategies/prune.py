"""DONUT-base-pruned: the teacher without its smallest weights."""

from collections.abc import Iterator

from benchmark import Strategy, hookimpl, magnitude_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune",
        summary="global magnitude pruning in one shot, nothing trained",
        start=magnitude_pruned(target="paper-table"),
        paper="DONUT-hole, section 2.2",
        paper_name="DONUT-base-pruned",
    )
