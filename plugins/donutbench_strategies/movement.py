"""Movement pruning: what goes are the weights that training moves towards zero (Sanh et al. 2020, sections 3 and 4).

The model computes with W' = W M, where M lets the weights of the highest scores S through, of all matrices together;
S is learnt straight through M: dL/dS = dL/dW' W, so it falls with a weight that a step would bring nearer to zero. The
share of M falls on a cubic schedule. Masked weights keep their values and still have gradients of their scores, so they
may return until the schedule has come to its end; then the mask is fixed, so that what is left learns under one.

S begins at W^2 / 2 and has learning rate 1, by its own gradient, not Adam's: -W dL/dW is how W^2 / 2 changes under
gradient descent, so S says how large a weight would have become. Theirs begins at zero (`initial` 0; the rate is then a
factor of all scores and changes no mask), for trainings of tens of thousands of steps. Of a few hundred, its sign is
chance: on the validation receipts N-TED was 0.00, for the queries and keys of the encoder, whose gradients are small,
lost everything, and 0.07 with scores compared within each matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import (
    Attached,
    Cubic,
    CubicMask,
    FeatureDistillation,
    References,
    Span,
    Strategy,
    hookimpl,
    reference,
)

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Movement:
    """A mask by scores that are learnt, in the place of its own; they begin at `initial` x W^2 / 2."""

    mask: CubicMask
    initial: float = 1.0

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Moving:
        return Moving(model, span, self.mask, self.initial)

    def __str__(self) -> str:
        return str(replace(self.mask, score=_Learnt({})))


@dataclass(frozen=True, slots=True)
class _Learnt:
    """Scores that are in the making."""

    scores: dict[str, torch.Tensor]

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        return self.scores

    def __str__(self) -> str:
        return "movement"


class Moving(Attached):
    """The scores of one training."""

    def __init__(self, model: VisionEncoderDecoderModel, span: Span, mask: CubicMask, initial: float) -> None:
        from benchmark import prunable

        self._weights = prunable(model)
        self._scores = {name: initial / 2 * weight.detach().square() for name, weight in self._weights.items()}
        self._mask = replace(mask, score=_Learnt(self._scores)).attach(model, span)

    def before_step(self, step: int) -> None:
        for name, weight in self._weights.items():
            if weight.grad is not None:
                self._scores[name] -= weight.grad * self._mask.dense[name]

    def after_step(self, step: int) -> None:
        self._mask.after_step(step)

    def state(self) -> Mapping[str, torch.Tensor]:
        return {**self._mask.state(), **{f"score.{name}": score for name, score in self._scores.items()}}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self._mask.restore(state)
        for name, score in self._scores.items():
            score.copy_(state[f"score.{name}"])

    def check(self) -> None:
        self._mask.check()


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="movement",
        summary="the teacher, distilled while the weights go that move towards zero, on a cubic schedule",
        start=reference("teacher"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=Movement(CubicMask(schedule=Cubic(end=0.5), returns=True)),
        paper="Sanh et al. 2020, sections 3 and 4",
        protocols=("task",),
    )
