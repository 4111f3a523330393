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
    from benchmark.parts.composed import then
    from benchmark.parts.constraints import FixedMask
    from benchmark.parts.finishes import Int8
    from benchmark.parts.mixed import mixed
    from benchmark.parts.objectives import CrossEntropy, FeatureDistillation, LogitDistillation
    from benchmark.parts.sliced import sliced
    from benchmark.parts.starts import Magnitude, Score, magnitude_pruned, pruned, random_pruned, reference
    from benchmark.running.runner import run
    from benchmark.running.setup import RunConfig

__all__ = [
    "SPLITS",
    "Attached",
    "Calibration",
    "CrossEntropy",
    "Dataset",
    "Document",
    "FeatureDistillation",
    "FixedMask",
    "Folder",
    "Glyph",
    "Int8",
    "Json",
    "LogitDistillation",
    "Magnitude",
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
    "UserError",
    "gradients",
    "hookimpl",
    "hub_dataset",
    "load_checkpoint",
    "magnitude_pruned",
    "mean_products",
    "mean_squares",
    "mixed",
    "prunable",
    "pruned",
    "random_pruned",
    "reference",
    "run",
    "sliced",
    "then",
]

_LAZY = {
    "CrossEntropy": "benchmark.parts.objectives",
    "FeatureDistillation": "benchmark.parts.objectives",
    "FixedMask": "benchmark.parts.constraints",
    "Int8": "benchmark.parts.finishes",
    "LogitDistillation": "benchmark.parts.objectives",
    "Magnitude": "benchmark.parts.starts",
    "RunConfig": "benchmark.running.setup",
    "Score": "benchmark.parts.starts",
    "gradients": "benchmark.models.calibration",
    "load_checkpoint": "benchmark.models.checkpoint",
    "magnitude_pruned": "benchmark.parts.starts",
    "mean_products": "benchmark.models.calibration",
    "mean_squares": "benchmark.models.calibration",
    "mixed": "benchmark.parts.mixed",
    "prunable": "benchmark.models.parameters",
    "pruned": "benchmark.parts.starts",
    "random_pruned": "benchmark.parts.starts",
    "reference": "benchmark.parts.starts",
    "run": "benchmark.running.runner",
    "sliced": "benchmark.parts.sliced",
    "then": "benchmark.parts.composed",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
