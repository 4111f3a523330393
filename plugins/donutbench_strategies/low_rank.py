"""Low rank: every linear layer as the product of two, by truncated singular value decomposition.

The r largest singular values of W (m x n) give the matrix of rank r that is nearest to it (Eckart and Young 1936), and
as two layers that has r (m + n) weights: with r = share x m n / (m + n) every layer keeps the same share, and the share
is that with which `ratio` of all parameters that are no embeddings is left. Ben Noach and Goldberg (2020) do so to
BERT, and then distil its features. The `split` says where the singular values go: their roots into both factors
(``even``, which weight decay and Muon's steps treat alike), or all into the second (``up``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import FeatureDistillation, References, Strategy, UserError, factored, hookimpl

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

_SPLITS = ("even", "up")


@dataclass(frozen=True, slots=True)
class Truncated:
    """Singular value decomposition of the weight alone."""

    split: str = "even"

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise UserError(f"unknown split of singular values {self.split!r}: choose from {', '.join(_SPLITS)}")

    def __call__(
        self, model: VisionEncoderDecoderModel, references: References, ranks: Mapping[str, int]
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        from benchmark import prunable

        weights = prunable(model)
        return {name: self.factors(weights[name].detach(), rank) for name, rank in ranks.items()}

    def factors(self, weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(outputs, inputs) -> (rank, inputs) and (outputs, rank)."""
        import torch

        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        down, up = right[:rank], left[:, :rank] * values[:rank]
        if self.split == "up":
            return down, up
        root = values[:rank].sqrt()
        return down * root[:, None], left[:, :rank] * root

    def __str__(self) -> str:
        return "truncated SVD"


ALONE = Strategy(
    name="low-rank",
    summary="linear layers of the teacher as products of two, by truncated SVD, nothing trained",
    start=factored(Truncated(), ratio=0.75),
    paper="Ben Noach and Goldberg 2020, the first of two stages",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="low-rank-distill",
        summary="linear layers of the teacher as products of two, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
        task_rate=0.125,  # of svd-llm-distill, which begins in the same shape
    )
