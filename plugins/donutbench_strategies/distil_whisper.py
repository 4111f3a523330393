"""distil-whisper's recipe for an encoder-decoder: few decoder layers, a frozen encoder, hard and soft targets.

Gandhi et al. 2023, section 3, after Shleifer and Rush 2020: the student is the teacher with 2 decoder layers at maximal
spacing, the first and the last; its whole encoder is the teacher's and is not trained; the loss is 0.8 x cross-entropy
+ 1.0 x T^2 x KL(teacher || student) with T = 2, as the published training code weighs them. Here the labels are the
ground truth: what the teacher's own answers add is the question of `prune-sequence`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import (
    Attached,
    LogitDistillation,
    Outputs,
    References,
    Scale,
    Span,
    Strategy,
    Teaching,
    UserError,
    hookimpl,
)

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Shallow:
    """The teacher with so many of its decoder's layers: the first, the last, and those between at even distances."""

    decoder_layers: int = 2

    def __post_init__(self) -> None:
        if self.decoder_layers < 2:
            raise UserError(f"the first and the last decoder layer stay: {self.decoder_layers} are too few")

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `UserError` if the teacher has fewer."""
        model = references.load("teacher")
        there, kept = model.decoder.config.decoder_layers, self.decoder_layers
        if kept > there:
            raise UserError(f"the teacher's decoder has {there} layers, of which {kept} cannot stay")
        from benchmark import keep_decoder_layers

        keep_decoder_layers(model, [i * (there - 1) // (kept - 1) for i in range(kept)])
        return model

    def __str__(self) -> str:
        return f"teacher, {self.decoder_layers} spaced decoder layers"


@dataclass(frozen=True, slots=True)
class WeighedDistillation:
    """`hard` x cross-entropy + `soft` x T^2 x KL(teacher || student)."""

    hard: float = 0.8
    soft: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if min(self.hard, self.soft) < 0 or not 0 < self.hard + self.soft < float("inf"):
            raise UserError(f"weights are at least 0 and not both 0: hard {self.hard:g}, soft {self.soft:g}")
        self._shares()

    @property
    def teaching(self) -> Teaching:
        return "logits"

    def _shares(self) -> LogitDistillation:
        return LogitDistillation(self.temperature, alpha=self.hard / (self.hard + self.soft))

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        return (self.hard + self.soft) * self._shares()(student, teacher, labels)

    def __str__(self) -> str:
        return f"{self.hard:g} cross-entropy + {self.soft:g} logit distillation, T = {self.temperature:g}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A part of the model, such as ``encoder``, stays as it is."""

    part: str = "encoder"

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Still:
        """Raises `UserError` if the model has no such part."""
        weights = {name: weight for name, weight in model.named_parameters() if name.startswith(f"{self.part}.")}
        if not weights:
            raise UserError(f"there are no weights in {self.part!r} that could be frozen")
        return Still(weights)

    def __str__(self) -> str:
        return f"frozen {self.part}"


class Still(Attached):
    """Weights without gradients: no optimizer moves them or lets them decay."""

    def __init__(self, weights: dict[str, torch.nn.Parameter]) -> None:
        self._weights = weights
        self._before = {name: weight.detach().clone() for name, weight in weights.items()}
        for weight in weights.values():
            weight.requires_grad_(False)

    def check(self) -> None:
        moved = [name for name, weight in self._weights.items() if not weight.equal(self._before[name])]
        if moved:
            raise RuntimeError(f"{len(moved)} frozen weights have moved, {moved[0]} first")

    def finish(self) -> None:
        for weight in self._weights.values():
            weight.requires_grad_(True)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="distil-whisper",
        summary="two decoder layers on the teacher's frozen encoder, distilled from it",
        start=Shallow(),
        objective=WeighedDistillation(),
        constraint=Frozen(),
        paper="Gandhi et al. 2023 (distil-whisper), section 3",
        protocols=("task",),
    )
