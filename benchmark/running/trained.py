"""Trained models, and how a run keeps them: a folder of weights, processor and ``training.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from benchmark.records.files import write_atomically
from benchmark.running.checkpoints import TRAINING, training_facts
from benchmark.training.journal import Curve


@dataclass(frozen=True, slots=True)
class Training:
    """How a model was trained: the totals of steps and documents, upstream and downstream; seconds of this run.

    `start_documents` are those that the reference models had read that it began with, `calibration_hash` is that of the
    training documents that the start has looked at, if any. `learning_rate` is the highest
    of the last training.
    """

    start_hash: str
    start_documents: int = 0
    calibration_hash: str | None = None
    steps: int = 0
    documents: int = 0
    seconds: float = 0.0
    learning_rate: float | None = None
    optimizer: str | None = None
    curve: Curve = field(default_factory=list)
    upstream_curve: Curve = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and how it came to be."""

    model: Donut
    training: Training


def keep(trained: Trained, processor: DonutProcessor, folder: Path, key: str) -> None:
    """Save, and make sure that what was saved is what was trained, zero for zero. Raises `RuntimeError` otherwise."""
    zeros = _zeros(trained.model)
    save_model(trained.model, folder)
    processor.save_pretrained(str(folder))
    again = load_model(folder)
    if _zeros(again) != zeros or fingerprint(again) != fingerprint(trained.model):
        raise RuntimeError("the saved model is not the trained one")
    facts = {"key": key, **asdict(trained.training)}
    write_atomically(folder / TRAINING, json.dumps(facts).encode())


def reopen(folder: Path, key: str) -> Trained | None:
    """What an earlier run left, if it was made for the same key and is whole."""
    facts = training_facts(folder)
    if facts.pop("key", None) != key:
        return None
    try:
        return Trained(load_model(folder), Training(**facts))
    except UserError:
        return None


def _zeros(model: Donut) -> int:
    return sum(int((weight == 0).sum()) for weight in prunable(model).values())
