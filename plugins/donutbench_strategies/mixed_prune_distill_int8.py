"""Four techniques on one model: cut units out, prune what is left, distill it under the mask, quantize to int8.

Each takes what another leaves: `structured-mixed` brings time, magnitude pruning a smaller file, int8 both, and one
distillation recovers from all that is done before it (Deep Compression, Han et al. 2016, figure 1: prune, then
quantize, with training between). Their order is the one that loses nothing: `benchmark.then` refuses others. What
differs from the source: units are cut first, training is distillation, and the codes are those of int8 kernels, not of
a codebook. How much is cut (`ratio`, with `layers` and `width`) and zeroed (`target`) are options.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark import (
    FeatureDistillation,
    FixedMask,
    Int8,
    Magnitude,
    References,
    Scale,
    Start,
    Strategy,
    hookimpl,
    mixed,
    pruned,
    then,
)

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True)
class CutAndPruned:
    """The teacher cut to a `ratio` of its multiply-accumulates, then without the `target` of the weights left."""

    ratio: float = 0.5
    layers: float = 0.83
    width: float = 0.85
    target: str = "half"
    steps: ClassVar = ("cut", "prune")

    def __post_init__(self) -> None:
        self._start()  # what cannot be is refused here

    def _start(self) -> Start:
        return then(mixed(self.ratio, self.layers, self.width), pruned(Magnitude(), self.target))

    def __call__(self, references: References, scale: Scale, seed: int) -> "VisionEncoderDecoderModel":
        return self._start()(references, scale, seed)

    def __str__(self) -> str:
        return str(self._start())


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="mixed-prune-distill-int8",
        summary="layers, channels and units cut, half of the rest zeroed, distilled under the mask, then int8",
        start=CutAndPruned(),
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
        finish=Int8(),
        protocols=("task",),
        paper="Han et al. 2016 (Deep Compression), figure 1, after Muralidharan et al. 2024 (Minitron)",
    )
