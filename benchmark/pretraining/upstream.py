"""The upstream models of the zoo: what each strategy becomes by reading with the full budget.

They are made as `run --budget full` makes them and stored without their zeros, so that `--budget quick` has only the
tasks left to train.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmark.models.checkpoint import point_to_processor, save_model
from benchmark.running.cells import Cell, identity_of
from benchmark.running.checkpoints import Checkpoints
from benchmark.running.plan import Planner
from benchmark.running.shared import Shared
from benchmark.running.stages import make_model
from benchmark.types import Dataset, Strategy
from benchmark.zoo.store import UPSTREAM, Zoo, write_recipe


def make_upstream(
    strategy: Strategy, datasets: Mapping[str, Dataset], zoo: Zoo, work: Path, device: torch.device
) -> None:
    """Train and store the upstream model of one strategy; goes on from `work`."""
    reading = datasets[zoo.scale.reading]
    cell = Cell(strategy.under("paper"), reading, zoo.scale, "paper", "full", seed=0)
    shared = Shared(zoo, zoo.scale, Checkpoints(work), device, workers=os.cpu_count() or 1)
    (job,) = Planner(zoo, reading).plan([cell])
    trained = make_model(job, shared)
    training = trained.training
    folder = zoo.folder / UPSTREAM / strategy.name
    save_model(trained.model, folder, half=True, packed=True)
    point_to_processor(folder, zoo.folder)
    facts = {
        "strategy": strategy.name,
        "parts": identity_of(strategy),
        "dataset": reading.name,
        "start_hash": training.start_hash,
        "start_documents": training.start_documents,
        "calibration_hash": training.calibration_hash,
        "steps": training.steps,
        "documents": training.documents,
        "learning_rate": training.learning_rate,
        "optimizer": training.optimizer,
    }
    write_recipe(folder, facts, training.curve, training.seconds, device)
