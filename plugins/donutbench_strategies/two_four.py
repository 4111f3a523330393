"""2:4: of every 4 weights in a row 2 stay, the pattern of sparse tensor cores (Mishra et al. 2021, section 3).

In each group of 4 consecutive inputs of an output the 2 of the lowest score go; the paper's score is magnitude. Of
layers whose inputs are no multiple of 4 nothing does; a kernel is the matrix that it is on unfolded pages. It prunes
half of what it can prune, always: an operating point of its own, with no target. Only on GPUs of NVIDIA's Ampere
generation or later is it faster, by torch's `to_sparse_semi_structured`; here all matrices are multiplied as dense
ones, and it saves no time, only bytes on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import FeatureDistillation, FixedMask, Magnitude, References, Scale, Score, Strategy, hookimpl

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

GROUP, KEPT = 4, 2


@dataclass(frozen=True, slots=True)
class SemiStructured:
    """The teacher with 2 of every 4 weights, by a score of each."""

    score: Score

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        import torch

        from benchmark import prunable

        model = references.load("teacher")
        scores = self.score(model, references, seed)
        with torch.no_grad():
            for name, weight in prunable(model).items():
                if weight[0].numel() % GROUP == 0:
                    places = scores[name].reshape(-1, GROUP).argsort(dim=1, stable=True).argsort(1)
                    weight.mul_((places >= GROUP - KEPT).view_as(weight))
        return model

    def __str__(self) -> str:
        return f"teacher, {self.score}-pruned to {KEPT} of every {GROUP}"


ALONE = Strategy(
    name="two-four",
    summary="2 of every 4 weights pruned, the pattern of sparse tensor cores, nothing trained",
    start=SemiStructured(Magnitude()),
    paper="Mishra et al. 2021, section 3",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="two-four-distill",
        summary="2 of every 4 weights pruned, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
