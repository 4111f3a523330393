"""Minitron: depth and width cut by what flows through them, then distilled by logits alone.

Muralidharan et al. 2024, sections 2 and 3. Channels, heads and feed-forward units matter by the activations of a few
documents, layers by how far they turn what they are given, 1 - cosine (block influence). What is left learns the
teacher's predictions by KL divergence, without a temperature and without the ground truth, which they found to add
nothing. Theirs is importance by the mean activation; here it is that of ``importance=activation``, the activation times
the weights that read it. Budget and split are those of `structured-mixed-distill`, from which this differs in what goes
and in the loss.
"""

from collections.abc import Iterator

from benchmark import LogitDistillation, Strategy, hookimpl, mixed


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="minitron",
        summary="layers, channels and feed-forward units cut by what flows through them, then distilled by logits",
        start=mixed(ratio=0.5, layers=0.83, width=0.85, importance="activation"),
        objective=LogitDistillation(temperature=1.0, alpha=0.0),
        paper="Muralidharan et al. 2024 (Minitron), sections 2 and 3",
        protocols=("task",),
        task_rate=0.5,
    )
