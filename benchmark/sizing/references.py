"""Reference models for costs alone: those of a zoo, or of random weights where a scale has no checkpoints here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.donut import Donut, build, fit_vocabulary
from benchmark.models.processor import build_processor
from benchmark.plugin.manager import Registry
from benchmark.scales import PAPER, Changes, Scale
from benchmark.types import Calibration
from benchmark.zoo.find import find_zoo
from benchmark.zoo.store import RECIPE, SHIPPED, Zoo

VOCABULARY = 57_525
"""Tokens of DONUT-base (naver-clova-ix/donut-base)."""
_SEEDS = {"teacher": 0, "none": 1, "small": 2}
_LABELS = 16
_MOST = 2
"""Documents that a start is given: at the paper's size one takes 20 s, and no number of them makes noise say more."""
_NAMED = 4
"""Donut's tokenizers begin with begin, padding, end and unknown."""


@dataclass(frozen=True, slots=True)
class Blank:
    """References as a start sees them: models, and documents of noise.

    What is random says nothing of which weights a start removes, and all of how many.
    """

    scale: Scale
    vocabulary: int
    zoo: Zoo | None = None
    """None: weights are random. So are those that go with a given teacher, which is alone."""

    def load(self, name: str) -> Donut:
        """Raises `UserError` for a reference that is not known, or not in the zoo."""
        if self.zoo is not None and (self.zoo.given is None or name == "teacher"):
            return fit_vocabulary(self.zoo.load(name), self.vocabulary)
        if name not in _SEEDS:
            raise UserError(f"there is no reference model {name!r}")
        sizes = self.scale.small if name == "small" else self.scale.teacher
        model = build(self.scale, sizes, self.vocabulary, _SEEDS[name])
        model.train(False)
        return model

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        count = min(count, _MOST)
        draws = torch.Generator().manual_seed(0)
        pixels = torch.rand(count, 3, self.scale.height, self.scale.width, generator=draws) * 2 - 1
        labels = torch.randint(self.vocabulary, (count, _LABELS), generator=draws)
        return Calibration(pixels, labels.roll(1, 1), labels)

    def tokens(self, count: int) -> frozenset[int]:
        """More than real documents take, whose words come again: a bound, and no estimate."""
        draws = torch.Generator().manual_seed(0)
        drawn = torch.randint(self.vocabulary, (count * _LABELS,), generator=draws)
        return frozenset({*range(_NAMED), *drawn.tolist()})


def references_of(registry: Registry, scale: Scale, teacher: str | None) -> tuple[Blank, DonutProcessor]:
    """Those of a given teacher, or of the zoo that ships with a scale, or random ones; and a processor for its pages.

    Raises `UserError` for a teacher that cannot be read. What `pretrain` has not finished is no zoo.
    """
    zoo = None
    if teacher is not None or all((SHIPPED / scale.name / name / RECIPE).is_file() for name in _SEEDS):
        zoo = find_zoo(scale.name, teacher, Changes())
    if zoo is not None:
        processor = zoo.processor()
        return Blank(zoo.scale, len(processor.tokenizer), zoo), processor
    # It knows the letters of the embedded data; what it says is not read.
    processor = build_processor(scale, [e.item for e in registry.datasets.values() if e.item.embedded])
    vocabulary = VOCABULARY if scale.name == PAPER.name else len(processor.tokenizer)
    return Blank(scale, vocabulary), processor
