"""Scores of a model on the test split of one data set, and its likeness to the teacher."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.devices import find_device, move
from benchmark.models.checkpoint import Checkpoint, load_checkpoint
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments, encode_documents, losses
from benchmark.models.processor import categories_of, encode, fit_page, prompt_of, to_json
from benchmark.models.runtime import runtime_of
from benchmark.page import read_page
from benchmark.plugin.documents import open_documents
from benchmark.records.record import Metrics, Prediction
from benchmark.scales import Scale
from benchmark.scoring.accepted import best_ted, nearest
from benchmark.scoring.answers import answered, summary
from benchmark.scoring.likeness import FEWEST_DOCUMENTS, Likeness
from benchmark.scoring.predict import Written, decode, perfect
from benchmark.scoring.prompts import find_prompt
from benchmark.scoring.representations import Representations, represent
from benchmark.truth import Losses, ceiling_sentence, several_sentence, to_text
from benchmark.types import Dataset, Json

_BLIND_CANDIDATES = 50


class Evaluator:
    """Scores models on one data set; what all rows share (the teacher's Grams, the blind score) is computed once."""

    def __init__(
        self,
        dataset: Dataset,
        processor: DonutProcessor,
        test: EncodedDocuments,
        train: Sequence[Json],
        longest: int,
        prompt: str | None = None,
    ) -> None:
        self.dataset = dataset
        self.prompt = prompt or prompt_of(dataset)
        self.processor = processor
        self.test = test
        self.longest = longest
        self._train = train
        self._likeness: Likeness | None = None

    def compare_with(self, teacher: Donut) -> None:
        """Take this model as the reference of CKA."""
        if len(self.test) >= FEWEST_DOCUMENTS:
            self._likeness = Likeness(self._represent(teacher))

    def predict(self, model: Donut) -> list[Written]:
        """What the model writes for each test document."""
        return decode(model, self.processor, self.test.pages, self.prompt, self.longest)

    def read(self, model: Donut) -> tuple[Metrics, list[Prediction]]:
        """`predict` and `score`."""
        return self.score(model, self.predict(model))

    def score(self, model: Donut, written: Sequence[Written]) -> tuple[Metrics, list[Prediction]]:
        """The scores of what a model has written (`predict`), and how like the teacher it is."""
        rows = zip(self.test.ids, written, self.test.accepted, strict=True)
        predictions = [predicted(self.processor, *row) for row in rows]
        metrics = Metrics(
            **summary(predictions),
            ted_cannot_read=self.blind_ted,
            ted_ceiling=self.ceiling,
            truncated_documents=self.losses.truncated,
            unknown_characters=self.losses.unknown,
            several_truths=self.several_truths,
            **self._compared(model),
        )
        return metrics, predictions

    def _compared(self, model: Donut) -> dict[str, Any]:
        # What onnxruntime rounds to int8 stays within its graphs: the features of the torch model are not those.
        if self._likeness is None or runtime_of(model) == "int8":
            return {}
        return self._likeness.compare(self._represent(model))

    @cached_property
    def blind_ted(self) -> float:
        """The best N-TED accuracy that one fixed answer reaches, of the first training ground truths.

        Answers go the way of a model's, as tokens: no blind reader writes what a perfect one cannot.
        """
        known = self._train[:_BLIND_CANDIDATES]
        categories = categories_of(self.processor)
        labels = encode(self.processor, [to_text(truth, categories) for truth in known], self.longest)
        answers = [to_json(self.processor, text) for text in perfect(self.processor, labels, self.longest)]
        accepted = self.test.accepted
        return max(sum(best_ted(answer, truths) for truths in accepted) / len(accepted) for answer in answers)

    @cached_property
    def ceiling(self) -> float:
        """The N-TED accuracy of a reader without fault: what its answers, as tokens, lose of the ground truth."""
        answers = [to_json(self.processor, text) for text in perfect(self.processor, self.test.labels, self.longest)]
        return sum(map(best_ted, answers, self.test.accepted)) / len(answers)

    @cached_property
    def losses(self) -> Losses:
        return losses(self.test, self.processor, self.longest)

    @property
    def several_truths(self) -> int:
        """How many test documents have several ground truths."""
        return sum(len(truths) > 1 for truths in self.test.accepted)

    @property
    def warnings(self) -> list[str]:
        """A line each for the terminal: even a reader without fault scores less than 1, the best of several counts."""
        sentences = ceiling_sentence(self.ceiling, self.losses), several_sentence(self.several_truths, len(self.test))
        return [f"{self.dataset.name}: {sentence}" for sentence in sentences if sentence]

    def _represent(self, model: Donut) -> Representations:
        prompt = self.processor.tokenizer.convert_tokens_to_ids(self.prompt)
        return represent(model, self.processor, self.test, prompt)


def predicted(processor: DonutProcessor, name: str, written: Written, truths: Sequence[Json]) -> Prediction:
    """The JSON that a decoded text stands for, and its scores.

    Of several ground truths it is the one that the prediction agrees with best (`nearest`).
    """
    prediction = to_json(processor, written.text)
    return answered(name, written.text, written.ended, prediction, nearest(prediction, truths))


def evaluate_checkpoint(
    checkpoint: str,
    dataset: Dataset,
    scale: Scale,
    device: str = "auto",
    limit: int | None = None,
    prompt: str | None = None,
) -> dict[str, Any]:
    """The scores of any Donut folder on the test split of a data set, read with the prompt that `find_prompt` finds.

    Where that is not the data set's own, or a perfect reader fails, stderr says it.
    """
    loaded = load_checkpoint(checkpoint)
    start = _told_prompt(loaded, dataset.name, prompt)
    model = move(loaded.model, find_device(device))
    longest = model.longest
    test = encode_documents(open_documents(dataset, scale, "test", 0, limit), loaded.processor, longest)
    evaluator = Evaluator(dataset, loaded.processor, test, test.ground_truths, longest, start)
    for warning in [*(f"{dataset.name}: {note}" for note in dataset.notes), *evaluator.warnings]:
        print(warning, file=sys.stderr)
    metrics, _ = evaluator.read(model)
    told = ("ted", "f1", "ted_ceiling", "truncated_documents", "unknown_characters", "several_truths")
    read = {"dataset": dataset.name, "prompt": start, "test_documents": len(test)}
    scores = {**read, **metrics.model_dump(include=set(told))}
    if dataset.shifted:
        test = encode_documents(open_documents(dataset, scale, "shifted", 0, limit), loaded.processor, longest)
        metrics, _ = Evaluator(dataset, loaded.processor, test, test.ground_truths, longest, start).read(model)
        scores |= {"shifted_documents": len(test), "shifted_ted": metrics.ted, "shifted_f1": metrics.f1}
    return scores


def predict_images(
    checkpoint: str,
    images: Sequence[Path],
    device: str = "auto",
    dataset: str | None = None,
    prompt: str | None = None,
) -> list[dict[str, Json]]:
    """The JSON that a model reads from each image. `UserError` names an image that cannot be read."""
    pages = [read_page(path) for path in images]
    loaded = load_checkpoint(checkpoint)
    model = move(loaded.model, find_device(device))
    start = _told_prompt(loaded, dataset, prompt)
    longest = model.longest
    results = []
    for path, page in zip(images, pages, strict=True):
        pixels = np.stack([fit_page(loaded.processor, page)])
        (written,) = decode(model, loaded.processor, _tensor(pixels), start, longest)
        results.append({"image": str(path), "prediction": to_json(loaded.processor, written.text)})
    return results


def _tensor(pages: NDArray[np.uint8]) -> Any:
    import torch

    return torch.from_numpy(pages)


def _told_prompt(checkpoint: Checkpoint, dataset: str | None, prompt: str | None) -> str:
    """`find_prompt`; stderr says if it is another than the data set's, which nobody has asked for."""
    found = find_prompt(checkpoint, dataset, prompt)
    if prompt is None and dataset is not None and found != f"<s_{dataset}>":
        print(f"the checkpoint does not know <s_{dataset}>: it reads with its own prompt {found}", file=sys.stderr)
    return found
