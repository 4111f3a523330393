"""HomoDistil: the student is the teacher, and becomes smaller while it is distilled (Liang et al. 2023, section 3).

A unit matters as much as the loss is sensitive to its weights, |w dL/dw|: the root of the sum of their squares, as an
exponential mean over the batches. The units that matter least go, held at zero for the rest of the training and cut out
at its end, on a cubic schedule and the same share of every place. Theirs are columns of every matrix, which share a
hidden width; here they are FFN units and attention heads, since a channel at zero still counts in the norms around it,
and a quarter of the parameters go, as in the structured rows. Their distillation has attentions too; here it is that of
all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import Attached, Cubic, FeatureDistillation, Span, Strategy, UserError, hookimpl, reference, share_of

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Homotopy:
    """The units that the loss is least sensitive to go, until `ratio` of the parameters is left.

    `smoothing` is the weight of the past in the mean over batches.
    """

    ratio: float
    schedule: Cubic
    smoothing: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", float(self.ratio))  # an option has the type of its value
        share_of(self.ratio)
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing={self.smoothing:g} is no weight of the past: at least 0, below 1")

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Shrinking:
        """Raises `UserError` if the units that can go are too few or too many."""
        return Shrinking(model, span, self)

    def __str__(self) -> str:
        return f"units that matter least cut to {share_of(self.ratio):.1%} {self.schedule}"


class Shrinking(Attached):
    """What one training has seen of its units."""

    def __init__(self, model: VisionEncoderDecoderModel, span: Span, constraint: Homotopy) -> None:
        from benchmark import UnitMask

        self._constraint = constraint
        self._steps = span.steps
        self._share = share_of(constraint.ratio)
        self._weights = dict(model.named_parameters(remove_duplicate=False))
        self._units = UnitMask(model, self._share)
        self._scores = self._units.sums({})

    def before_step(self, step: int) -> None:
        gradients = {name: weight.grad for name, weight in self._weights.items()}
        squares = {n: (g * self._weights[n].detach()).square() for n, g in gradients.items() if g is not None}
        for name, total in self._units.sums(squares).items():
            self._scores[name].lerp_(total.sqrt(), 1 - self._constraint.smoothing)

    def after_step(self, step: int) -> None:
        gone = self._constraint.schedule.due(step, self._steps)
        if gone is not None:
            self._units.shrink(self._scores, 1 - (1 - self._share) * gone)
        self._units.after_step(step)

    def state(self) -> Mapping[str, torch.Tensor]:
        return {**self._units.state(), **{f"score.{name}": score for name, score in self._scores.items()}}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self._units.restore(state)
        self._scores = {name: state[f"score.{name}"] for name in self._scores}

    def check(self) -> None:
        self._units.check()

    def finish(self) -> VisionEncoderDecoderModel:
        return self._units.finish()


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="homodistil",
        summary="the teacher, distilled while the feed-forward units and heads that matter least are cut out of it",
        start=reference("teacher"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=Homotopy(ratio=0.75, schedule=Cubic(begin=0.05, end=0.5)),
        paper="Liang et al. 2023, section 3",
        protocols=("task",),
    )
