"""Two losses that a renderer gives for free, used to make the zoo and faded out before its end.

Plain cross-entropy learns next to nothing in tens of thousands of pages: a character is one token among many, and a
decoder that does not yet know where to look cannot tell the encoder what to see. Both need to know where each
character was printed, so they work on embedded data only; no strategy uses them.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmark.scales import Scale

SLOTS = 2
"""Characters that one cell can hold, from left to right: cells are wider than narrow letters."""


class CellReader(nn.Module):
    """Reads from each cell of the encoder's output the characters whose centres lie in it. Training only."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, SLOTS * vocabulary)
        self.vocabulary = vocabulary

    def loss(self, cells: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Cross-entropy over all cells and slots, of which empty ones weigh little.

        `cells` (documents, cells, width), `labels` and `places` (documents, tokens). Token 0 stands for 'empty'.
        """
        target = _cell_targets(labels, places, cells.shape[1])
        logits = self.head(cells).view(-1, self.vocabulary).float()
        weight = logits.new_ones(self.vocabulary)
        weight[0] = 0.2
        return nn.functional.cross_entropy(logits, target.flatten(), weight=weight)

    @torch.no_grad()
    def accuracy(self, cells: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> float:
        """Share of the printed characters that are read right."""
        target = _cell_targets(labels, places, cells.shape[1]).flatten()
        guess = self.head(cells).view(-1, self.vocabulary).argmax(-1)
        return float((guess == target)[target > 0].float().mean())


def places_of(points: torch.Tensor, scale: Scale) -> torch.Tensor:
    """The cell of each token's character, (documents, tokens), -1 where unknown or off the page."""
    rows, columns = scale.grid
    side = scale.height // rows
    column, row = (points[..., 0] / side).floor().long(), (points[..., 1] / side).floor().long()
    inside = (points[..., 0] >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return torch.where(inside, row * columns + column, -1)


def _cell_targets(labels: torch.Tensor, places: torch.Tensor, cells: int) -> torch.Tensor:
    """(documents, cells, slots): tokens in reading order, 0 where there is none; a third character is left out."""
    target = labels.new_zeros(len(labels), cells + 1, SLOTS)
    same = (places[:, :, None] == places[:, None, :]) & (places >= 0)[:, :, None]
    rank = same.tril(-1).sum(-1)
    keep = (places >= 0) & (rank < SLOTS)
    document, token = keep.nonzero(as_tuple=True)
    target[document, places[document, token], rank[document, token]] = labels[document, token]
    return target[:, :cells]


def guided_attention(attentions: tuple[torch.Tensor, ...], places: torch.Tensor) -> torch.Tensor:
    """Minus the log of the cross-attention mass on the cell of the character to be written next.

    `attentions`: per guided layer (documents, heads, tokens, cells); the mean over heads is guided, so that single
    heads stay free.
    """
    document, token = (places >= 0).nonzero(as_tuple=True)
    cell = places[document, token]
    losses = [-(layer.float().mean(1)[document, token, cell] + 1e-6).log().mean() for layer in attentions]
    return torch.stack(losses).mean()
