"""Token reduction for a page: the decoder reads the cells of the encoder that have ink on them, and no others.

Half of a document is blank, and all of it is read again for every token in cross-attention. Of each page the cells
whose pixels are the darkest against the paper stay, in their order and as many of every page, so that nothing has to
be masked; which those are is computed from the pixels, within the encoder. Pruning of tokens by their content is
usual for transformers of one resolution (Rao et al. 2021, DynamicViT, which learns what to drop); a Swin merges
windows of neighbours, so here cells go behind it and not within, and nothing is learnt. What the encoder costs stays:
at the paper's size that is 98 % of a reading. What a blank cell has gathered from its neighbours is lost.

Distilled, the memory is compared with the teacher's at the cells that stay, the stages of the encoder at all of them.
The control is `drop-random`.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, fewer_cells, hookimpl

ALONE = Strategy(
    name="drop-blank",
    summary="the teacher, its decoder reading the inkier half of the cells, nothing trained",
    start=fewer_cells("ink"),
    paper="after Rao et al. 2021 (DynamicViT), section 3.2",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="drop-blank-distill",
        summary="the teacher, its decoder reading the inkier half of the cells, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
