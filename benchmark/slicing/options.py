"""What can be chosen of a cut. Nothing here loads torch, so that a start can be described without it."""

from __future__ import annotations

from typing import Literal

Kind = Literal["ffn", "heads", "width", "layers"]
"""What is cut out: units of feed-forward layers, attention heads, channels of the residual stream, layers."""
Importance = Literal["magnitude", "taylor", "activation", "random", "spacing"]
"""What goes first: see `benchmark.slicing.importance`."""
Measure = Literal["parameters", "macs"]
"""What a budget is a share of: parameters that are no embeddings, or multiply-accumulates."""
Allocation = Literal["uniform", "global"]
"""Whether every group loses the same share, or the units that are worth least beside their group go first."""
