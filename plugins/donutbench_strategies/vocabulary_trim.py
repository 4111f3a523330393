"""Vocabulary trimming: the table of tokens holds the rows that the training corpus needs, and no others.

DONUT's table has 57,525 rows for the words of four languages, 58.9M of its 201M weights, and is the output head too
(Abdaoui et al. 2020 cut a multilingual BERT to the tokens of a few languages so). Kept are the tokens that
the ground truths of `documents` training documents are written with, the prompt and tags of the data set, and begin,
end, padding and unknown.

The tokenizer stays: tokens keep their numbers, the config says which of them the table has rows for, and the model
maps numbers to rows at its two ends. So every text is split as before, whatever merges or lattice a BPE or unigram
tokenizer needs for that, and the same tokens are written while they are among those kept. A teacher's probabilities
are compared over these alone, and add up to 1 again. The cost of the method: a token that is first seen at test has
no row, cannot be written, and is read as padding. Of 400 receipts and 400 parcels of the test split it is none: the
embedded data has characters for tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import FeatureDistillation, References, Scale, Strategy, UserError, hookimpl

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The teacher with rows for the tokens alone that so many documents of the training split need."""

    documents: int = 1280

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UserError(f"tokens are counted in at least 1 document, not {self.documents}")

    def __call__(self, references: References, scale: Scale, seed: int) -> "VisionEncoderDecoderModel":
        model = references.load("teacher")
        from benchmark import keep_tokens

        keep_tokens(model, references.tokens(self.documents))
        return model

    def __str__(self) -> str:
        return f"teacher, trimmed to the tokens of {self.documents} documents"


ALONE = Strategy(
    name="vocabulary-trim",
    summary="the teacher with rows for the tokens of the training corpus alone, nothing trained",
    start=Trimmed(),
    paper="Abdaoui et al. 2020 (Load What You Need)",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="vocabulary-trim-distill",
        summary="the teacher with rows for the tokens of the training corpus alone, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
        task_rate=0.125,  # of dense-distill: it begins as the same model
    )
