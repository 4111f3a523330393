"""Prune Once For All, of one training: magnitude pruning under distillation by the recipe of Zafrir et al. 2021.

As `gradual`, but a masked weight keeps its value and returns when others have become smaller (section 3, and the
settings published with it): the mask is decided anew at every fiftieth of a ramp over the first half of the training,
and as often until 80 % of it are over. The objective is theirs, half cross-entropy and half distillation of the logits
at temperature 2, without features. They prune BERT once, on its pre-training corpus, and fine-tune it on tasks under a
fixed mask; here both is one training on the task, and 73.8 % of all weights go, not 90 % of each layer's. Learning-rate
rewinding, which holds their rate near its peak for as long as the mask moves, is left out: every row has the schedule
of the budget.
"""

from collections.abc import Iterator

from benchmark import Cubic, CubicMask, LogitDistillation, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-once",
        summary="the teacher, pruned as in gradual by a mask that weights return from, under distilled logits alone",
        start=reference("teacher"),
        objective=LogitDistillation(temperature=2.0, alpha=0.5),
        constraint=CubicMask(target="paper-table", schedule=Cubic(end=0.5, last=0.8, times=50), returns=True),
        paper="Zafrir et al. 2021, section 3",
        protocols=("task",),
    )
