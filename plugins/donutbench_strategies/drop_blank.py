"""Token reduction for a page: the decoder reads the cells of the encoder that have ink on them, and no others.

Much of a document is blank, and all of it is read again for every token in cross-attention. Of each page the cells
stay whose pixels are the darkest against their paper, in their order and as many of every page, so that nothing has to
be masked; which those are is computed from the pixels, within the encoder. Pruning of tokens by what is on them is
usual for transformers of one resolution (DynamicViT, which learns what to drop); a Swin merges windows of neighbours,
so here cells go behind it and not within, and nothing is learnt. What the encoder costs stays: at the paper's size that
is 95 % of the multiply-accumulates. How much of a page may go depends on the documents: on the first 40 of the
validation split and with nothing trained, `keep` 0.75, 0.5 and 0.25 give receipts 0.961, 0.957 and 0.813 (the teacher
0.965), and parcels, whose pages are fuller, 0.956, 0.765 and 0.284 (0.981).

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
