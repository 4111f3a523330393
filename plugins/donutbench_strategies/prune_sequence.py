"""Sequence-level distillation: what the teacher writes on the training pages is the truth.

Cross-entropy with the teacher's own answers (Kim and Rush 2016, section 3.2), so that the student learns one mode of it
and not what it cannot express. Answers are greedy, not from a beam. Those that disagree with the ground truth are left
out, as distil-whisper (Gandhi et al. 2023, section 4) leaves out those of more than 10 % word errors: here those of an
N-TED accuracy below 0.9, those that were cut and those that cannot be parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import (
    CrossEntropy,
    FixedMask,
    Outputs,
    Strategy,
    Teaching,
    UserError,
    hookimpl,
    magnitude_pruned,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SequenceDistillation:
    """Cross-entropy with what the teacher writes, on pages on which that agrees with the ground truth (N-TED)."""

    agreement: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.agreement <= 1:
            raise UserError(f"agreement is an N-TED accuracy between 0 and 1, not {self.agreement:g}")

    @property
    def teaching(self) -> Teaching:
        return "answers"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        return CrossEntropy()(student, teacher, labels)

    def __str__(self) -> str:
        return f"cross-entropy with the teacher's answers, N-TED at least {self.agreement:g}"


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-sequence",
        summary="prune, then train under the mask on what the teacher writes",
        start=magnitude_pruned(target="paper-table"),
        objective=SequenceDistillation(),
        constraint=FixedMask(),
        paper="Kim and Rush 2016, section 3.2; the filter: Gandhi et al. 2023, section 4",
        rate=0.5,
        protocols=("task",),
    )
