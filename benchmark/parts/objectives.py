"""Objectives: (student logits, teacher logits, labels) -> loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy with the ground truth: Donut's own objective."""

    @property
    def needs_teacher(self) -> bool:
        return False

    def __call__(self, logits: torch.Tensor, teacher_logits: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    def __str__(self) -> str:
        return "cross-entropy"


@dataclass(frozen=True, slots=True)
class LogitDistillation:
    """Cross-entropy with the ground truth, and with the teacher's softened prediction of every token.

    The paper names no loss. This is word-level distillation (Hinton et al. 2015; Kim and Rush 2016, section 3.1) on
    ground-truth prefixes: `alpha` x cross-entropy + (1 - alpha) x T^2 x KL(teacher || student). A temperature of 2
    keeps the teacher's second guesses visible, which for characters means look-alikes; T^2 keeps the gradient's size.
    """

    temperature: float = 2.0
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"distillation needs a temperature above 0, not {self.temperature:g}")
        if not 0 <= self.alpha <= 1:
            raise UserError(f"alpha is a share between 0 and 1, not {self.alpha:g}")

    @property
    def needs_teacher(self) -> bool:
        return True

    def __call__(self, logits: torch.Tensor, teacher_logits: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy, kl_div, log_softmax

        if teacher_logits is None:
            raise ValueError("distillation needs the teacher's logits")
        kept = labels != -100
        student, teacher = logits[kept].float(), teacher_logits[kept].float()
        soft = kl_div(
            log_softmax(student / self.temperature, -1),
            log_softmax(teacher / self.temperature, -1),
            reduction="batchmean",
            log_target=True,
        )
        return self.alpha * cross_entropy(student, labels[kept]) + (1 - self.alpha) * self.temperature**2 * soft

    def __str__(self) -> str:
        return f"{self.alpha:g} cross-entropy + {1 - self.alpha:g} logit distillation, T = {self.temperature:g}"
