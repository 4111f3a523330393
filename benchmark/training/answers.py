"""Labels that the teacher writes: sequence-level distillation (Kim and Rush 2016, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import prompt_of
from benchmark.scoring.evaluator import predicted
from benchmark.scoring.predict import Written, perfect, written_tokens
from benchmark.training.trainer import Documents
from benchmark.types import Dataset


@dataclass(frozen=True, slots=True)
class Answers:
    """What the teacher writes on each of `pages`: `labels` (documents, tokens), -100 beyond the end token.

    `agreement` is the N-TED accuracy of each with its ground truth; None if it is cut or cannot be parsed. `dataset` is
    the name of where they are from.
    """

    dataset: str
    pages: EncodedDocuments
    labels: torch.Tensor
    agreement: Sequence[float | None]

    def left_out(self, least: float) -> str:
        """A sentence on the pages whose answer agrees less, or is none."""
        count, gone = len(self.pages), len(self.pages) - len(self._rows(least))
        which = f"{gone} of {count} training pages ({gone / count:.1%}) are left out"
        why = f"the teacher's answer is cut, unparseable or less than {least:g} like the ground truth (N-TED)"
        return f"{self.dataset}: {which}: {why}"

    def documents(self, least: float) -> Documents:
        """As many as there are pages: in the place of one that is left out, one of the others comes once more.

        Raises `UserError` if there is no other.
        """
        rows, count = self._rows(least), len(self.pages)
        if not rows:
            raise UserError(self.left_out(least))
        labelled = replace(self.pages, labels=self.labels, points=self.pages.points[:, :0])
        return Documents(labelled, [rows[i % len(rows)] for i in range(count)])

    def _rows(self, least: float) -> list[int]:
        return [row for row, found in enumerate(self.agreement) if found is not None and found >= least]


def answers_of(
    teacher: Donut, processor: DonutProcessor, pages: EncodedDocuments, dataset: Dataset, longest: int
) -> Answers:
    """What the teacher writes greedily, in the place of the beam of Kim and Rush.

    Prompt, tokens and end are at most `longest` together.
    """
    tokens = written_tokens(teacher, processor, pages.pages, prompt_of(dataset), longest)
    labels = pad_sequence([torch.tensor(row) for row in tokens], batch_first=True, padding_value=-100)
    texts, agreement = perfect(processor, labels, longest), []
    for name, text, row, truths in zip(pages.ids, texts, tokens, pages.accepted, strict=True):
        answer = predicted(processor, name, Written(text, row[-1] == processor.tokenizer.eos_token_id), truths)
        agreement.append(None if {"truncated", "unparseable"} & {*answer.failures} else answer.ted)
    return Answers(dataset.name, pages, labels, agreement)
