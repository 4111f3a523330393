"""How many parameters a model has, and how many of them are left after pruning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from benchmark.models.parameters import embeddings, non_embeddings


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Counts of parameters; a tied head is the token table and counts once.

    `nonzero` counts the non-embedding parameters that are not zero, whatever made the others so: the biases
    of a model that was never trained are zeros too.
    """

    total: int
    embedding: int
    nonembedding: int
    nonzero: int

    @property
    def density(self) -> float:
        """The share of the non-embedding parameters that is not zero."""
        return self.nonzero / self.nonembedding


def count_parameters(model: nn.Module) -> ParameterCounts:
    tables, others = embeddings(model).values(), non_embeddings(model).values()
    return ParameterCounts(
        total=_numel(model.parameters()),
        embedding=_numel(tables),
        nonembedding=_numel(others),
        nonzero=sum(int(p.count_nonzero()) for p in others),
    )


def _numel(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
