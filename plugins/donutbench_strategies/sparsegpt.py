"""SparseGPT: what goes is made up for by the weights that stay (Frantar and Alistarh 2023, section 3).

Each layer is to give what it gave on calibration documents, to the least squares: H = X^T X over their rows, damped by
0.01 of its mean diagonal. The inputs of a layer are settled from the first to the last (algorithm 1): of each 128 the
weights of the lowest w^2 / c^2 go, c the diagonal of the Cholesky factor of H's inverse, as many in each 128 as the
target says; what an output loses is made up for by its weights of later inputs. Blocks of the transformer are settled
in the order of the forward pass, each on what the pruned ones before it give. Documents are 32 of the data set's own.
An input that is always 0 costs nothing: its weights go first, but, unlike in the authors' code, no more than the
target says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import Calibrated, FeatureDistillation, FixedMask, References, Scale, Strategy, hookimpl, sparsity_of

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

DAMPING = 0.01


@dataclass(frozen=True, slots=True)
class SparseGPT(Calibrated):
    """The teacher without a share of its weights, the others changed. `target` and `ratio` are those of `pruned`."""

    target: str = "paper-table"
    ratio: float | None = None

    def __post_init__(self) -> None:
        Calibrated.__post_init__(self)
        sparsity_of(self.target, self.ratio)
        if self.ratio is not None:
            object.__setattr__(self, "ratio", float(self.ratio))  # an option is text

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `ValueError` if the weights that can go are too few."""
        import torch

        from benchmark import mean_products, mean_squares, prunable, weights_to_prune

        model, calibration = references.load("teacher"), self.calibration(references)
        weights = prunable(model)
        size = sum(weight.numel() for weight in weights.values())
        remove = weights_to_prune(model, sparsity_of(self.target, self.ratio), weights.values())
        done = 0
        for names in blocks_of(mean_squares(model, calibration)):
            products = mean_products(model, calibration, names)
            for name in names:
                weight = weights[name]
                # As many as come to the target with those of all layers so far: rounded, they still add up.
                gone = remove * (done + weight.numel()) // size - remove * done // size
                with torch.no_grad():
                    weight.copy_(settled(weight.flatten(1), products[name], gone).view_as(weight))
                done += weight.numel()
        return model

    def __str__(self) -> str:
        return f"teacher, SparseGPT-pruned by {sparsity_of(self.target, self.ratio):.1%}"


def blocks_of(names: Iterable[str]) -> list[list[str]]:
    """Weights in the order given, those of one block of a transformer together: all up to the last number is the same.

    A layer without a number, such as that of the patches, is by itself.
    """
    blocks: dict[str, list[str]] = {}
    for name in names:
        numbered = re.match(r".*\.\d+(?=\.)", name)
        blocks.setdefault(numbered.group() if numbered else name, []).append(name)
    return list(blocks.values())


def settled(weight: torch.Tensor, products: torch.Tensor, remove: int, block: int = 128) -> torch.Tensor:
    """A matrix (outputs, inputs) without `remove` of its weights, given the mean products of its inputs."""
    import torch

    left, inputs = weight.to(torch.double, copy=True), len(products)
    factor, dead = _factor(products), products.diagonal() == 0
    for begin in range(0, inputs, block):
        end = min(begin + block, inputs)
        part, sizes = left[:, begin:end], factor.diagonal()[begin:end]
        costs = torch.where(dead[begin:end], 0.0, (part / sizes).square())
        gone = _lowest(costs, remove * end // inputs - remove * begin // inputs)
        errors = torch.zeros_like(part)
        for i in range(end - begin):
            errors[:, i] = torch.where(gone[:, i], part[:, i] / sizes[i], 0.0)
            part[:, i:] -= errors[:, i, None] * factor[begin + i, begin + i : end]
        left[:, end:] -= errors @ factor[begin:end, end:]
        part[gone] = 0.0  # and not what rounding leaves
    return left.to(weight.dtype)


def _factor(products: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of H, which row by row is all that the inputs after each need of it."""
    import torch

    damped = products.double() + DAMPING * products.diagonal().mean() * torch.eye(len(products), dtype=torch.double)
    damped.diagonal()[products.diagonal() == 0] = 1.0  # nothing hangs on these inputs: any number will do
    factor: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    return factor


def _lowest(costs: torch.Tensor, count: int) -> torch.Tensor:
    """Which are the `count` lowest."""
    import torch

    lowest = torch.zeros(costs.numel(), dtype=torch.bool)
    lowest[costs.flatten().argsort(stable=True)[:count]] = True
    return lowest.view_as(costs)


ALONE = Strategy(
    name="sparsegpt",
    summary="weights pruned layer by layer, what they gave made up for by the others, nothing else trained",
    start=SparseGPT(),
    paper="Frantar and Alistarh 2023, section 3",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="sparsegpt-distill",
        summary="weights pruned layer by layer and made up for by the others, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
