"""Unstructured pruning: scores, one global threshold, and the mask that keeps zeros zero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from benchmark.models.parameters import non_embeddings, prunable
from benchmark.types import Allocation, Attached

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
    return {name: _places(score.flatten()).view_as(score) for name, score in scores.items()}


def within_rows(scores: Scores) -> Scores:
    """The same order within the weights of every output, and the same scores in all: each output loses the same share.

    Weights are compared with those that they are added up with (Wanda, Sun et al. 2024, section 3).
    """
    return {name: _places(score.flatten(1)).view_as(score) for name, score in scores.items()}


def by_erdos_renyi(scores: Scores, sparsity: float) -> Scores:
    """Within every matrix as before, and more of it stays the smaller it is: ERK (Evci et al. 2020, section 3).

    What stays is in proportion to the sum of a kernel's sides over their product, but at most all of it; `sparsity` is
    that of the weights scored.
    """
    shares = {name: sum(score.shape) / score.numel() for name, score in scores.items()}
    left, whole, scale = (1 - sparsity) * sum(score.numel() for score in scores.values()), set[str](), 0.0
    while rest := scores.keys() - whole:
        scale = (left - sum(scores[name].numel() for name in whole)) / sum(sum(scores[name].shape) for name in rest)
        more = {name for name in rest if scale * shares[name] >= 1}
        if not more:
            break
        whole |= more
    gone = {name: 0.0 if name in whole else 1 - scale * shares[name] for name in scores}
    return {
        name: _places(score.flatten()).view_as(score) / gone[name] if gone[name] else torch.full_like(score, torch.inf)
        for name, score in scores.items()
    }


def _places(scores: torch.Tensor) -> torch.Tensor:
    """Which place each score has in the last dimension, from 0 to below 1."""
    return scores.argsort(dim=-1, stable=True).argsort(-1).double() / scores.shape[-1]


def allocated(scores: Scores, allocation: Allocation, sparsity: float) -> Scores:
    """Scores that say the same of the weights that are compared, and of no others; `sparsity` is that of all scored."""
    if allocation == "global":
        return scores
    if allocation == "erk":
        return by_erdos_renyi(scores, sparsity)
    return within_each(scores) if allocation == "uniform" else within_rows(scores)


def weights_to_prune(model: nn.Module, sparsity: float, among: Iterable[torch.Tensor]) -> int:
    """How many of these weights go until `sparsity` of all non-embedding parameters are zero.

    The share is one of all non-embedding parameters, as in Table 1; biases and norms are among them but stay. Raises
    `ValueError` if the weights are too few for that.
    """
    total = sum(p.numel() for p in non_embeddings(model).values())
    remove, prunable_ones = round(sparsity * total), sum(weight.numel() for weight in among)
    if remove > prunable_ones:
        raise ValueError(f"cannot prune {remove} weights: only {prunable_ones} of {total} are prunable")
    return remove


@torch.no_grad()
def prune_globally(model: nn.Module, scores: Scores, sparsity: float, allocation: Allocation = "global") -> None:
    """Zero the weights of the lowest scores, in place: all but the `highest`, which see."""
    weights = prunable(model)
    for name, keep in highest(model, scores, sparsity, allocation).items():
        weights[name].mul_(keep.to(weights[name].device))


def highest(
    model: nn.Module, scores: Scores, sparsity: float, allocation: Allocation = "global"
) -> dict[str, torch.Tensor]:
    """Which weights stay, as booleans by name, when the lowest scores go until `sparsity` of the model is pruned.

    The `allocation` says which weights are compared: all, or those of one matrix or output. Raises `ValueError` as
    `weights_to_prune`.
    """
    remove = weights_to_prune(model, sparsity, scores.values())
    if remove == 0:
        return {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    scores = allocated(scores, allocation, remove / sum(score.numel() for score in scores.values()))
    keep = _kept(torch.cat([score.flatten() for score in scores.values()]), remove)
    parts = keep.split([score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _kept(scores: torch.Tensor, remove: int) -> torch.Tensor:
    """Which stay when the `remove` lowest go: by rank, so that ties cannot prune more than was asked for."""
    if len(scores) < _MANY:
        keep = torch.ones_like(scores, dtype=torch.bool)
        keep[torch.topk(scores, remove, largest=False, sorted=False).indices] = False
        return keep
    # As integers, floats keep their order once the bits of the negative ones are turned round but for the sign: the
    # highest bits are bins of a histogram.
    bits = scores.float().view(torch.int32)
    bins = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) >> 12
    bins -= bins.min()
    below = torch.bincount(bins).cumsum(0)
    last = int((below < remove).sum())
    inside = (bins == last).nonzero()[:, 0]
    rest = remove - (int(below[last - 1]) if last else 0)
    keep = bins > last
    keep[inside[scores[inside].argsort(stable=True)[rest:]]] = True
    return keep


class Mask(Attached):
    """The zeros of a model's prunable weights, kept."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = prunable(model)
        self._keep = {name: weight.detach() != 0 for name, weight in self._weights.items()}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, weight in self._weights.items():
            weight.mul_(self._keep[name])

    def check(self) -> None:
        """Raise `RuntimeError` if a masked weight is not zero."""
        revived = sum(int((weight[~self._keep[name]] != 0).sum()) for name, weight in self._weights.items())
        if revived:
            raise RuntimeError(f"{revived} pruned weights came back to life")
