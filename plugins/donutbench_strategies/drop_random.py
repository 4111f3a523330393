"""Control of drop-blank: the decoder reads as many cells of the encoder, drawn at random.

The seed draws the places once, the same of all pages: a choice that has not looked at the page, which a decoder could
get used to. Where this is as good as drop-blank, cells know enough of their neighbours that any half of them will do.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, fewer_cells, hookimpl

ALONE = Strategy(
    name="drop-random",
    summary="control: the teacher, its decoder reading half of the cells, drawn at random, nothing trained",
    start=fewer_cells("chance"),
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="drop-random-distill",
        summary="control: the teacher, its decoder reading half of the cells, drawn at random, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
