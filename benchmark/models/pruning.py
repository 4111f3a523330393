"""Unstructured pruning: scores, one global threshold, and the mask that keeps zeros zero."""

from __future__ import annotations

import torch
from torch import nn

from benchmark.models.parameters import non_embeddings, prunable

_MANY = 2**24
"""From so many scores on `topk` takes ten times as long as a histogram; below, it says which of equal scores go."""
Scores = dict[str, torch.Tensor]
"""One score for each prunable weight, by parameter name; the lowest go first."""


def magnitudes(model: nn.Module) -> Scores:
    """Absolute values (paper, section 2.2)."""
    return {name: weight.detach().abs().float() for name, weight in prunable(model).items()}


def random_scores(model: nn.Module, seed: int) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in prunable(model).items()}


def within_each(scores: Scores) -> Scores:
    """The same order within every matrix, and the same scores in all of them: each loses the same share."""
    return {
        name: score.flatten().argsort(stable=True).argsort().view_as(score).double() / score.numel()
        for name, score in scores.items()
    }


@torch.no_grad()
def prune_globally(model: nn.Module, scores: Scores, sparsity: float) -> None:
    """Zero the weights of the lowest scores, in place, until `sparsity` of all non-embedding parameters are zero.

    The share is one of all non-embedding parameters, as in Table 1; biases and norms are among them but stay.
    Raises `ValueError` if the prunable weights are too few for that.
    """
    total = sum(p.numel() for p in non_embeddings(model).values())
    remove = round(sparsity * total)
    flat = torch.cat([score.flatten() for score in scores.values()])
    if remove > len(flat):
        raise ValueError(f"cannot prune {remove} weights: only {len(flat)} of {total} are prunable")
    if remove == 0:
        return
    keep = _kept(flat, remove)
    weights = prunable(model)
    parts = keep.split([score.numel() for score in scores.values()])
    for name, part in zip(scores, parts, strict=True):
        weights[name].mul_(part.view_as(weights[name]).to(weights[name].device))


def _kept(scores: torch.Tensor, remove: int) -> torch.Tensor:
    """Which stay when the `remove` lowest go: by rank, so that ties cannot prune more than was asked for."""
    if len(scores) < _MANY:
        keep = torch.ones(len(scores), dtype=torch.bool)
        keep[torch.topk(scores, remove, largest=False, sorted=False).indices] = False
        return keep
    # As integers, floats that are not negative keep their order: the highest bits are bins of a histogram.
    bins = scores.float().view(torch.int32) >> 12
    below = torch.bincount(bins).cumsum(0)
    last = int((below < remove).sum())
    inside = (bins == last).nonzero()[:, 0]
    rest = remove - (int(below[last - 1]) if last else 0)
    keep = bins > last
    keep[inside[scores[inside].argsort(stable=True)[rest:]]] = True
    return keep


class Mask:
    """The zeros of a model's prunable weights, kept."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = prunable(model)
        self._keep = {name: weight.detach() != 0 for name, weight in self._weights.items()}

    @torch.no_grad()
    def after_step(self) -> None:
        for name, weight in self._weights.items():
            weight.mul_(self._keep[name])

    def check(self) -> None:
        """Raise `RuntimeError` if a masked weight is not zero."""
        revived = sum(int((weight[~self._keep[name]] != 0).sum()) for name, weight in self._weights.items())
        if revived:
            raise RuntimeError(f"{revived} pruned weights came back to life")
