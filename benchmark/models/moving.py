"""A mask that is decided anew while its model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from benchmark.models.parameters import non_embeddings, prunable
from benchmark.models.pruning import Scores, allocated, highest, weights_to_prune
from benchmark.types import Allocation, Attached

Due = Callable[[int], float | None]
"""(step) -> the share of what goes that is gone after it, or None: the mask stays as it is."""


class MovingMask(Attached):
    """A mask over the prunable weights; the model holds what it lets through.

    What is masked is not learnt: it keeps its value, whatever momentum and weight decay the optimizer has. If what was
    pruned `returns`, it is compared by that value whenever the mask is decided, and comes back with it. What is zero in
    the beginning is masked from then on, and counts: a model that is sparse enough keeps its pattern.
    """

    def __init__(
        self,
        model: nn.Module,
        due: Due,
        sparsity: float,
        score: Callable[[], Scores],
        allocation: Allocation = "global",
        returns: bool = False,
    ) -> None:
        """`score` is called when the model holds its `dense` weights. Raises `ValueError` if too few can go."""
        self._due = due
        self._score = score
        self._allocation = allocation
        self._returns = returns
        self._model = model
        self._weights = prunable(model)
        self._keep = {name: weight.detach() != 0 for name, weight in self._weights.items()}
        self.dense = {name: w.detach().clone() if returns else w.detach() for name, w in self._weights.items()}
        """All weights by name, masked or not, if what was pruned returns."""
        self._first = self._masked / sum(weight.numel() for weight in non_embeddings(model).values())
        self._last = max(sparsity, self._first)
        self._removals = weights_to_prune(model, self._last, self._weights.values())

    @property
    def _masked(self) -> int:
        return sum(int((~keep).sum()) for keep in self._keep.values())

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, weight in self._weights.items():
            weight.copy_(torch.where(self._keep[name], weight, self.dense[name]))
        if (share := self._due(step)) is not None:
            self._decide(self._first + (self._last - self._first) * share)
        for name, weight in self._weights.items():
            self.dense[name].copy_(weight)
            weight.mul_(self._keep[name])

    def _decide(self, sparsity: float) -> None:
        scores = self._lowest_where_gone(self._score())
        gone = weights_to_prune(self._model, sparsity, scores.values())
        scores = allocated(scores, self._allocation, gone / sum(score.numel() for score in scores.values()))
        chosen = highest(self._model, self._lowest_where_gone(scores), sparsity)
        self._keep = {name: keep.to(self._weights[name].device) for name, keep in chosen.items()}

    def _lowest_where_gone(self, scores: Scores) -> Scores:
        if self._returns:
            return scores
        return {
            name: score.masked_fill(~self._keep[name].to(score.device), -torch.inf) for name, score in scores.items()
        }

    def state(self) -> Mapping[str, torch.Tensor]:
        dense = {f"dense.{name}": weight for name, weight in self.dense.items()} if self._returns else {}
        return {**{f"keep.{name}": keep for name, keep in self._keep.items()}, **dense}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        for name, weight in self._weights.items():
            self._keep[name] = state[f"keep.{name}"].to(weight.device)
            if self._returns:
                self.dense[name] = state[f"dense.{name}"].to(weight.device)

    def check(self) -> None:
        """Raise `RuntimeError` if a masked weight is not zero, or more or fewer are masked than have to be."""
        revived = sum(int((weight[~self._keep[name]] != 0).sum()) for name, weight in self._weights.items())
        if revived:
            raise RuntimeError(f"{revived} pruned weights came back to life")
        if self._masked != self._removals:
            raise RuntimeError(f"{self._masked} weights are pruned, and not {self._removals}")
