"""Scores of a model on the test split of one data set, and its likeness to the teacher."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.devices import find_device, move
from benchmark.errors import UserError
from benchmark.metrics import field_f1, ted_accuracy
from benchmark.metrics.cka import global_cka, null_matrix, unit_grams
from benchmark.metrics.f1 import field_counts
from benchmark.models.checkpoint import load_checkpoint
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments, encode_documents, losses
from benchmark.models.processor import categories_of, encode, fit_page, prompt_of, to_json, to_text
from benchmark.page import read_page
from benchmark.records.record import Metrics, Prediction
from benchmark.scales import Scale
from benchmark.scoring.accepted import best_ted, nearest
from benchmark.scoring.predict import decode, perfect
from benchmark.scoring.representations import Representations, represent
from benchmark.truth import Losses, ceiling_sentence, plain, several_sentence
from benchmark.types import Dataset, Json

_BLIND_CANDIDATES = 50
_FEWEST_FOR_CKA = 4  # the debiased form takes no fewer documents


class Evaluator:
    """Scores models on one data set; what all rows share (the teacher's Grams, the blind score) is computed once."""

    def __init__(
        self, dataset: Dataset, processor: DonutProcessor, test: EncodedDocuments, train: Sequence[Json], longest: int
    ) -> None:
        self.dataset = dataset
        self.processor = processor
        self.test = test
        self.longest = longest
        self._train = train
        self._teacher: Representations | None = None
        self._teacher_grams: dict[bool, NDArray[np.float64]] = {}

    def compare_with(self, teacher: Donut) -> None:
        """Take this model as the reference of CKA."""
        if len(self.test) < _FEWEST_FOR_CKA:
            return
        self._teacher = self._represent(teacher)
        self._teacher_grams = {debiased: _grams(self._teacher, debiased) for debiased in (False, True)}

    def predict(self, model: Donut) -> list[str]:
        """What the model writes for each test document."""
        return decode(model, self.processor, self.test.pages, prompt_of(self.dataset), self.longest)

    def read(self, model: Donut) -> tuple[Metrics, list[Prediction]]:
        """`predict` and `score`."""
        return self.score(model, self.predict(model))

    def score(self, model: Donut, texts: Sequence[str]) -> tuple[Metrics, list[Prediction]]:
        """The scores of what a model has written (`predict`), and how like the teacher it is."""
        predictions = [
            predicted(self.processor, *row) for row in zip(self.test.ids, texts, self.test.accepted, strict=True)
        ]
        metrics = Metrics(
            ted=sum(p.ted for p in predictions) / len(predictions),
            f1=field_f1([p.prediction for p in predictions], [p.ground_truth for p in predictions]),
            ted_cannot_read=self.blind_ted,
            ted_ceiling=self.ceiling,
            truncated_documents=self.losses.truncated,
            unknown_characters=self.losses.unknown,
            several_truths=self.several_truths,
            **self._likeness(model),
        )
        return metrics, predictions

    @cached_property
    def blind_ted(self) -> float:
        """The best N-TED accuracy that one fixed answer reaches, of the first training ground truths.

        Answers go the way of a model's, as tokens: no blind reader writes what a perfect one cannot.
        """
        known = plain(self._train[:_BLIND_CANDIDATES], f"data set {self.dataset.name}, train")
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
        prompt = self.processor.tokenizer.convert_tokens_to_ids(prompt_of(self.dataset))
        return represent(model, self.processor, self.test, prompt)

    def _likeness(self, model: Donut) -> dict[str, Any]:
        if self._teacher is None:
            return {}
        ours, teacher = self._represent(model), self._teacher
        depth = (ours.encoder_layers, ours.decoder_layers, teacher.decoder_layers)
        grams = {debiased: _grams(ours, debiased) for debiased in self._teacher_grams}
        matrices = {debiased: grams[debiased] @ theirs.T for debiased, theirs in self._teacher_grams.items()}
        floors = null_matrix(grams[False], self._teacher_grams[False])
        return {
            "cka": global_cka(matrices[False], *depth),
            "cka_debiased": global_cka(matrices[True], *depth),
            "cka_null_floor": global_cka(floors, *depth),
            "cka_documents": len(self.test),
            "layerwise": matrices[False].tolist(),
            "layers_student": list(ours.names),
            "layers_teacher": list(teacher.names),
        }


def _grams(representations: Representations, debiased: bool) -> NDArray[np.float64]:
    """`unit_grams`, but NaN for a layer whose features are not finite: its CKA does not exist, that of others does."""
    finite = [bool(np.isfinite(layer).all()) for layer in representations.layers]
    pairs = zip(representations.layers, finite, strict=True)
    grams = unit_grams([layer if whole else np.zeros_like(layer) for layer, whole in pairs], debiased)
    grams[~np.array(finite)] = np.nan
    return grams


def predicted(processor: DonutProcessor, name: str, text: str, truths: Sequence[Json]) -> Prediction:
    """One line of the predictions file: the JSON that a decoded text stands for, and its scores.

    Of several ground truths it is the one that the prediction agrees with best (`nearest`).
    """
    prediction = to_json(processor, text)
    truth = nearest(prediction, truths)
    counts = field_counts(prediction, truth)
    return Prediction(
        id=name,
        prediction=prediction,
        ground_truth=truth,
        ted=ted_accuracy(prediction, truth),
        tp=counts.tp,
        fn=counts.fn,
        fp=counts.fp,
        text=text,
    )


def evaluate_checkpoint(
    checkpoint: str, dataset: Dataset, scale: Scale, device: str = "auto", limit: int | None = None
) -> dict[str, Any]:
    """The scores of any Donut folder on the test split of a data set. Where a perfect reader fails, stderr says it."""
    loaded = load_checkpoint(checkpoint)
    model = move(loaded.model, find_device(device))
    longest = model.longest
    documents = dataset.open(scale, "test", 0, limit)
    test = encode_documents(documents, loaded.processor, longest, where=f"data set {dataset.name}, test")
    _prompt(loaded.processor, dataset.name)
    evaluator = Evaluator(dataset, loaded.processor, test, test.ground_truths, longest)
    for warning in [*(f"{dataset.name}: {note}" for note in dataset.notes), *evaluator.warnings]:
        print(warning, file=sys.stderr)
    metrics, _ = evaluator.read(model)
    told = ("ted", "f1", "ted_ceiling", "truncated_documents", "unknown_characters", "several_truths")
    scores = {"dataset": dataset.name, "test_documents": len(test), **metrics.model_dump(include=set(told))}
    if dataset.shifted:
        documents = dataset.open(scale, "shifted", 0, limit)
        test = encode_documents(documents, loaded.processor, longest, where=f"data set {dataset.name}, shifted")
        metrics, _ = Evaluator(dataset, loaded.processor, test, test.ground_truths, longest).read(model)
        scores |= {"shifted_documents": len(test), "shifted_ted": metrics.ted, "shifted_f1": metrics.f1}
    return scores


def predict_images(
    checkpoint: str, images: Sequence[Path], device: str = "auto", dataset: str | None = None
) -> list[dict[str, Json]]:
    """The JSON that a model reads from each image. `UserError` names an image that cannot be read."""
    pages = [read_page(path) for path in images]
    loaded = load_checkpoint(checkpoint)
    model = move(loaded.model, find_device(device))
    start = _prompt(loaded.processor, dataset)
    longest = model.longest
    results = []
    for path, page in zip(images, pages, strict=True):
        pixels = np.stack([fit_page(loaded.processor, page)])
        (text,) = decode(model, loaded.processor, _tensor(pixels), start, longest)
        results.append({"image": str(path), "prediction": to_json(loaded.processor, text)})
    return results


def _tensor(pages: NDArray[np.uint8]) -> Any:
    import torch

    return torch.from_numpy(pages)


def _prompt(processor: DonutProcessor, dataset: str | None) -> str:
    """The prompt token of a data set; without a name the only one that the checkpoint knows."""
    vocabulary = processor.tokenizer.get_vocab()
    # A prompt looks like the opening tag of a field, but nothing closes it.
    opening: list[str] = sorted(token for token in vocabulary if re.fullmatch(r"<s_[^>]+>", token))
    known = [token for token in opening if token.replace("<s_", "</s_") not in vocabulary]
    wanted = [token for token in known if dataset is None or token == f"<s_{dataset}>"]
    if len(wanted) != 1:
        names = ", ".join(token[3:-1] for token in known) or "none"
        what = "say with --dataset what to read" if dataset is None else f"it does not know the prompt <s_{dataset}>"
        raise UserError(f"{what}; this checkpoint knows the data sets: {names}")
    return wanted[0]
