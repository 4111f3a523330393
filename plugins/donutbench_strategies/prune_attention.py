"""Attention transfer: at every token the student reads the page where the teacher reads it.

KL divergence of the attention of each head over what it attends to, as in MiniLM (Wang et al. 2020, section 3.1), of
the decoder's cross-attention: which cells of the page every token is read from. Zagoruyko and Komodakis (2017) transfer
the squared activations of an encoder over the page instead. On a document these say where there is print, not what is
read when, and `FeatureDistillation` already follows the activations that they are made of. MiniLM takes the last layer
because the layers of its student have no counterpart; here every layer has one, and all count the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import (
    FixedMask,
    LogitDistillation,
    Outputs,
    Strategy,
    Teaching,
    UserError,
    hookimpl,
    magnitude_pruned,
    paired,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class AttentionDistillation(LogitDistillation):
    """Logit distillation, and `weight` x KL(teacher || student) of the cross-attention, the mean over heads and tokens.

    A student of fewer layers takes every n-th of the teacher's; where heads differ in number, their means are compared.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        # super() would look for the class that the decorator replaced (slots).
        LogitDistillation.__post_init__(self)
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"attentions need a weight of at least 0, not {self.weight:g}")

    @property
    def teaching(self) -> Teaching:
        return "attentions"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        import torch

        assert teacher is not None
        kept = labels != -100
        layers = [divergence(*pair, kept) for pair in paired(student.cross, teacher.cross)]
        logits = LogitDistillation.__call__(self, student, teacher, labels)
        return logits + self.weight * torch.stack(layers).mean()

    def __str__(self) -> str:
        return f"{LogitDistillation.__str__(self)} + {self.weight:g} cross-attention"


def divergence(student: torch.Tensor, teacher: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) over the cells, the mean over the heads and the `kept` (documents, tokens).

    Both are (documents, heads, tokens, cells), probabilities over the cells.
    """
    import torch
    from torch.nn.functional import kl_div

    if student.shape[1] != teacher.shape[1]:
        student, teacher = (side.mean(1, keepdim=True) for side in (student, teacher))
    ours, theirs = (side.transpose(1, 2)[kept].flatten(0, 1).float() for side in (student, teacher))
    return kl_div(ours.clamp(min=torch.finfo(ours.dtype).tiny).log(), theirs, reduction="batchmean")


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-attention",
        summary="prune, then distill logits and where the page is read under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=AttentionDistillation(),
        constraint=FixedMask(),
        paper="Wang et al. 2020 (MiniLM), section 3.1, for cross-attention",
        protocols=("task",),
    )
