"""ShortGPT: layers go by block influence, 1 - the mean cosine between what a layer is given and what it gives.

Men et al. 2024, over the tokens of calibration documents. There a stack of like layers is all there is; here the budget
says how many go from where, as in ``structured-layers``, whose ratio it has, so that the two differ in which go alone:
of each stack those of the lowest influence. A stack is the decoder, or a stage of the Swin, whose cells no other stage
can take: blocks go within their stage and in pairs of a plain and a shifted window, for alone either of them would see
no further than its own window; the influence of a pair is from its first block to its last. Of the tiny teachers'
decoders (receipts and parcels) influence leaves what spacing leaves: the first layer and the last.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import FeatureDistillation, Strategy, hookimpl, sliced

ALONE = Strategy(
    name="shortgpt",
    summary="the layers that change their input least cut out of the teacher, nothing trained",
    start=sliced("layers", ratio=0.7, importance="activation"),
    paper="Men et al. 2024 (ShortGPT), block influence",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="shortgpt-distill",
        summary="the layers that change their input least cut out of the teacher, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
    )
