"""Control of the other objectives: DONUT-hole's start and mask under plain word-level distillation.

`LogitDistillation` (Hinton et al. 2015, section 2; for sequences Kim and Rush 2016, section 3.1). From this row
`prune-distill`, `prune-dist`, `prune-standardised`, `prune-attention` and `prune-sequence` differ in their objective,
the last, which has no teacher beside it, in its rate too.
"""

from collections.abc import Iterator

from benchmark import FixedMask, LogitDistillation, Strategy, hookimpl, magnitude_pruned


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-logits",
        summary="control: prune, then distill the teacher's logits alone under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=LogitDistillation(temperature=2.0),
        constraint=FixedMask(),
        paper="Hinton et al. 2015, section 2; Kim and Rush 2016, section 3.1",
        protocols=("task",),
    )
