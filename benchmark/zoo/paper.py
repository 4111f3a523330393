"""The reference models of the paper's own size: DONUT-base and DONUT-small's pretrained parts, from the hub's cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.models.hub import find_checkpoint
from benchmark.scales import PAPER, Changes
from benchmark.zoo.given import GivenTeacher, open_teacher
from benchmark.zoo.store import content_hash

if TYPE_CHECKING:
    from transformers import DonutProcessor

    from benchmark.models.donut import Donut

TEACHER = "naver-clova-ix/donut-base"
SWIN = "timm/swin_tiny_patch4_window7_224.ms_in1k"
BART = "lucadiliello/bart-small"
"""Paper, section 2.2, footnotes 1 and 2."""


@dataclass(frozen=True)
class PaperZoo(GivenTeacher):
    """A teacher on the paper's pages and tokens, and DONUT-small made of its pretrained parts.

    DONUT-base-0.5M is nowhere to be had: what begins with it is left out.
    """

    def brings(self, name: str) -> bool:
        return name in ("teacher", "small")

    def load(self, name: str) -> Donut:
        return self._small() if name == "small" else super().load(name)

    def fingerprint(self, strategy: str, dataset: str) -> str:
        """Of the teacher, and of the parts of the student that are here."""
        return " ".join([self.content, *map(_content, (SWIN, BART))])

    def processor(self) -> DonutProcessor:
        """The teacher's, for pages of the paper's size."""
        processor = super().processor()
        processor.image_processor.size = {"height": self.scale.height, "width": self.scale.width}
        return processor

    def _small(self) -> Donut:
        """DONUT-small with the teacher's vocabulary. Raises `UserError` if a part is not in the hub's cache."""
        from benchmark.models.backbones import take_bart, take_swin
        from benchmark.models.donut import build

        swin, bart = find_checkpoint(SWIN), find_checkpoint(BART)
        model = build(self.scale, self.scale.small, len(self.processor().tokenizer), seed=0)
        take_swin(model.encoder, swin)
        take_bart(model.decoder, bart)
        model.train(False)
        return model


def _content(name: str) -> str:
    """A hash of the weights of a model in the hub's cache; empty without."""
    try:
        folder = find_checkpoint(name)
    except UserError:
        return ""
    return content_hash(folder, folder.glob("*.safetensors"))


def open_paper(teacher: str | None, changes: Changes) -> PaperZoo:
    """The paper's size with its own teacher, or a given one. `UserError` if it is none, or cannot read such pages."""
    given = open_teacher(teacher or TEACHER, changes)
    own = given.scale
    scale = replace(
        own,
        name=f"{PAPER.name}{changes}" if teacher is None else own.name.replace("own-", f"{PAPER.name}-", 1),
        summary=PAPER.summary,
        reading=PAPER.reading,
        height=PAPER.height,
        width=PAPER.width,
        font_pixels=PAPER.font_pixels,
        max_tokens=changes.max_tokens or min(own.max_tokens, PAPER.max_tokens),
        small=PAPER.small,
        quick=changes.of(PAPER.quick),
        full=changes.of(PAPER.full),
        task_teacher=changes.of(PAPER.task_teacher),
    )
    if own.bridge:
        raise UserError(f"{given.given} knows the places of its own {own.height}x{own.width} pages alone")
    if min(scale.grid) < own.window:
        raise UserError(f"{given.given} has windows of {own.window} cells, and its last stage {min(scale.grid)} a side")
    return PaperZoo(given.folder, scale, given.content)
