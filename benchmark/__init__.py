"""donutbench: which compression of a document-understanding model is worth using, with evidence.

A plugin imports from here and from nowhere else in `benchmark`. Names that lead to torch are loaded on first
use, so that ``import benchmark`` stays quick.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.folders.folder import Folder
from benchmark.folders.hub import Part, hub_dataset
from benchmark.plugin.hookspecs import hookimpl
from benchmark.scales import Scale
from benchmark.slicing.options import share_of
from benchmark.types import (
    SPLITS,
    Attached,
    Calibration,
    Dataset,
    Document,
    Glyph,
    Json,
    Outputs,
    Page,
    References,
    Span,
    Split,
    Start,
    Strategy,
    Teaching,
)

# A thread of torch that waits for another one looks a thousand times and then sleeps, unless the user says otherwise.
# The default looks 300 times longer, at each of the many short steps of a batch, for a thread that another process may
# have pushed off its core: with one of two cores taken a training step took 3.4 times as long, with this 1.9 times;
# with both cores free this costs 6 %. OpenMP reads it when torch is loaded, so it is set before anything here does.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from benchmark.models.calibration import gradients, mean_products, mean_squares
    from benchmark.models.checkpoint import load_checkpoint
    from benchmark.models.parameters import prunable
    from benchmark.models.pruning import weights_to_prune
    from benchmark.models.vocabulary import keep_tokens
    from benchmark.parts.cells import fewer_cells
    from benchmark.parts.composed import then
    from benchmark.parts.constraints import CubicMask, FixedMask
    from benchmark.parts.factored import Factorization, factored
    from benchmark.parts.finishes import Int8, OnnxRuntime
    from benchmark.parts.mixed import mixed
    from benchmark.parts.objectives import CrossEntropy, FeatureDistillation, LogitDistillation, paired
    from benchmark.parts.schedules import Cubic
    from benchmark.parts.sliced import sliced
    from benchmark.parts.starts import (
        Calibrated,
        Magnitude,
        Score,
        magnitude_pruned,
        pruned,
        random_pruned,
        reference,
        sparsity_of,
    )
    from benchmark.running.config import RunConfig
    from benchmark.running.runner import run
    from benchmark.slicing.donut import keep_decoder_layers
    from benchmark.slicing.held import UnitMask

__all__ = [
    "SPLITS",
    "Attached",
    "Calibrated",
    "Calibration",
    "CrossEntropy",
    "Cubic",
    "CubicMask",
    "Dataset",
    "Document",
    "Factorization",
    "FeatureDistillation",
    "FixedMask",
    "Folder",
    "Glyph",
    "Int8",
    "Json",
    "LogitDistillation",
    "Magnitude",
    "OnnxRuntime",
    "Outputs",
    "Page",
    "Part",
    "References",
    "RunConfig",
    "Scale",
    "Score",
    "Span",
    "Split",
    "Start",
    "Strategy",
    "Teaching",
    "UnitMask",
    "UserError",
    "factored",
    "fewer_cells",
    "gradients",
    "hookimpl",
    "hub_dataset",
    "keep_decoder_layers",
    "keep_tokens",
    "load_checkpoint",
    "magnitude_pruned",
    "mean_products",
    "mean_squares",
    "mixed",
    "paired",
    "prunable",
    "pruned",
    "random_pruned",
    "reference",
    "run",
    "share_of",
    "sliced",
    "sparsity_of",
    "then",
    "weights_to_prune",
]

_LAZY = {
    "Calibrated": "benchmark.parts.starts",
    "CrossEntropy": "benchmark.parts.objectives",
    "Cubic": "benchmark.parts.schedules",
    "CubicMask": "benchmark.parts.constraints",
    "Factorization": "benchmark.parts.factored",
    "FeatureDistillation": "benchmark.parts.objectives",
    "FixedMask": "benchmark.parts.constraints",
    "Int8": "benchmark.parts.finishes",
    "LogitDistillation": "benchmark.parts.objectives",
    "Magnitude": "benchmark.parts.starts",
    "OnnxRuntime": "benchmark.parts.finishes",
    "RunConfig": "benchmark.running.config",
    "Score": "benchmark.parts.starts",
    "UnitMask": "benchmark.slicing.held",
    "factored": "benchmark.parts.factored",
    "fewer_cells": "benchmark.parts.cells",
    "gradients": "benchmark.models.calibration",
    "keep_decoder_layers": "benchmark.slicing.donut",
    "keep_tokens": "benchmark.models.vocabulary",
    "load_checkpoint": "benchmark.models.checkpoint",
    "magnitude_pruned": "benchmark.parts.starts",
    "mean_products": "benchmark.models.calibration",
    "mean_squares": "benchmark.models.calibration",
    "mixed": "benchmark.parts.mixed",
    "paired": "benchmark.parts.objectives",
    "prunable": "benchmark.models.parameters",
    "pruned": "benchmark.parts.starts",
    "random_pruned": "benchmark.parts.starts",
    "reference": "benchmark.parts.starts",
    "run": "benchmark.running.runner",
    "sliced": "benchmark.parts.sliced",
    "sparsity_of": "benchmark.parts.starts",
    "then": "benchmark.parts.composed",
    "weights_to_prune": "benchmark.models.pruning",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
