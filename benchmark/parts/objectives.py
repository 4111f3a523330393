"""Objectives: (student outputs, teacher outputs, labels) -> loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.types import Outputs, Teaching

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy with the ground truth: Donut's own objective."""

    @property
    def teaching(self) -> Teaching:
        return "none"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(student.logits.flatten(0, 1).float(), labels.flatten())

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
    def teaching(self) -> Teaching:
        return "logits"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy, kl_div, log_softmax

        kept = labels != -100
        ours, theirs = student.logits[kept].float(), _present(teacher).logits[kept].float()
        soft = kl_div(
            log_softmax(ours / self.temperature, -1),
            log_softmax(theirs / self.temperature, -1),
            reduction="batchmean",
            log_target=True,
        )
        return self.alpha * cross_entropy(ours, labels[kept]) + (1 - self.alpha) * self.temperature**2 * soft

    def __str__(self) -> str:
        return f"{self.alpha:g} cross-entropy + {1 - self.alpha:g} logit distillation, T = {self.temperature:g}"


@dataclass(frozen=True, slots=True)
class FeatureDistillation(LogitDistillation):
    """Logit distillation, and `weight` x the share of the teacher's features that the student does not have.

    Features are the cells after every stage of the encoder, the memory that the decoder reads, and the tokens after
    every layer of the decoder, each stage and layer counting the same; a student of fewer layers takes every n-th of
    the teacher's (patient distillation, Sun et al. 2019). The share is the squared distance over the teacher's
    variance. Where the widths differ the student's features are mapped by the least-squares fit of the batch, which
    is what a learnt projection (FitNets, Romero et al. 2015) tends to: at that optimum the map's own gradient is zero,
    so none has to be followed and no weights are added. Without features nothing recovers from pruning three quarters
    of a tiny teacher in one shot: logits say that a token is wrong, not in which layer.
    """

    weight: float = 2.0

    def __post_init__(self) -> None:
        # super() would look for the class that the decorator replaced (slots).
        LogitDistillation.__post_init__(self)
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"features need a weight of at least 0, not {self.weight:g}")

    @property
    def teaching(self) -> Teaching:
        return "features"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        import torch

        theirs, kept = _present(teacher), labels != -100
        pairs = [
            *((ours.flatten(0, 1), goal.flatten(0, 1)) for ours, goal in paired(student.encoder, theirs.encoder)),
            *((ours[kept], goal[kept]) for ours, goal in paired(student.decoder, theirs.decoder)),
        ]
        missing = torch.stack([_unexplained(ours.float(), goal.float()) for ours, goal in pairs]).mean()
        return LogitDistillation.__call__(self, student, teacher, labels) + self.weight * missing

    def __str__(self) -> str:
        return f"{LogitDistillation.__str__(self)} + {self.weight:g} feature distillation"


def _present(teacher: Outputs | None) -> Outputs:
    if teacher is None:
        raise ValueError("distillation needs the teacher's outputs")
    return teacher


def paired(
    student: tuple[torch.Tensor, ...], teacher: tuple[torch.Tensor, ...]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each of the student's layers with the teacher's at the same share of the depth; the last with the last."""
    count, goals = len(student), len(teacher)
    return [(layer, teacher[(i + 1) * goals // count - 1]) for i, layer in enumerate(student)]


def _unexplained(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared distance over the teacher's variance; rows are cells or tokens."""
    if student.shape != teacher.shape:
        student = _fitted(student, teacher)
    distance: torch.Tensor = (student - teacher).square().mean() / teacher.var(0, correction=0).mean()
    return distance


def _fitted(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The affine map of `student` that comes nearest to `teacher`, a little ridge keeping it solvable."""
    import torch

    with torch.no_grad():
        rows = torch.cat([student, student.new_ones(student.shape[0], 1)], 1)
        gram = rows.T @ rows
        ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        solution = torch.linalg.solve(gram + ridge, rows.T @ teacher)
    fitted: torch.Tensor = student @ solution[:-1] + solution[-1]
    return fitted
