"""SVD-LLM: linear layers as products of two that change their outputs least, not their weights.

Truncation-aware whitening (Wang et al. 2025, section 3.1): with S S^T the mean of x x^T over the inputs x of a layer,
here of calibration documents, ||(W - W') x|| is on average ||(W - W') S||, so the singular values of W S are what
truncation costs; W' = truncated(W S) S^-1, S by Cholesky. Their roots go into both factors, as there. Inputs are those
of the whole teacher. Instead of the paper's second step, an update of one factor after the other (section 3.2), the row
can be distilled. Inputs that hardly occur would make S singular: a hundredth of the mean of the diagonal is added to
all of it, where the paper's code adds what is just enough. ``scaling=diagonal`` is ASVD (Yuan et al. 2023): S is
diagonal, the root of each input's size, which is here the root of its mean square and there the mean of |x|.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import Calibrated, FeatureDistillation, References, Strategy, UserError, factored, hookimpl

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

_SCALINGS = ("whitening", "diagonal")
_DAMPING = 0.01


@dataclass(frozen=True, slots=True)
class Whitened(Calibrated):
    """Singular value decomposition of the weight times a root of its inputs' mean products."""

    scaling: str = "whitening"

    def __post_init__(self) -> None:
        Calibrated.__post_init__(self)  # super() would look for the class that the decorator replaced (slots)
        if self.scaling not in _SCALINGS:
            raise UserError(f"unknown scaling {self.scaling!r}: choose from {', '.join(_SCALINGS)}")

    def __call__(
        self, model: VisionEncoderDecoderModel, references: References, ranks: Mapping[str, int]
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        from benchmark import mean_products, prunable

        weights = prunable(model)
        products = mean_products(model, self.calibration(references), ranks)
        return {name: self.factors(weights[name].detach(), products[name], rank) for name, rank in ranks.items()}

    def factors(self, weight: torch.Tensor, products: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (outputs, inputs) and products (inputs, inputs) -> (rank, inputs) and (outputs, rank)."""
        import torch

        scales = self._scales(products)
        left, values, right = torch.linalg.svd(weight.double() @ scales, full_matrices=False)
        root = values[:rank].sqrt()
        unscaled = torch.linalg.solve_triangular(scales, right[:rank], upper=False, left=False)
        return unscaled * root[:, None], left[:, :rank] * root

    def _scales(self, products: torch.Tensor) -> torch.Tensor:
        """S, lower triangular, (inputs, inputs) in float64."""
        import torch

        damped = products + torch.eye(len(products)) * _DAMPING * products.diagonal().mean()
        if self.scaling == "diagonal":
            return damped.diagonal().pow(0.25).diag()
        root: torch.Tensor = torch.linalg.cholesky(damped)
        return root

    def __str__(self) -> str:
        return "SVD-LLM" if self.scaling == "whitening" else "ASVD"


ALONE = Strategy(
    name="svd-llm",
    summary="linear layers of the teacher as products of two, by an SVD that looks at their inputs, nothing trained",
    start=factored(Whitened(), ratio=0.75),
    paper="Wang et al. 2025 (SVD-LLM), section 3.1",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="svd-llm-distill",
        summary="linear layers of the teacher as products of two by an SVD of their inputs, then distilled from it",
        objective=FeatureDistillation(temperature=2.0),
        task_rate=0.125,  # chosen on validation: at 1 it forgets what it began with
    )
