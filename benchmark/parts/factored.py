"""A start whose linear layers are products of two, of so low a rank that a budget is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from benchmark.errors import UserError
from benchmark.slicing.options import share_of
from benchmark.steps import Step
from benchmark.types import References

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale


class Factorization(Protocol):
    """What a weight becomes: (model, references, ranks) -> (down, up) of each of these weights, by parameter name.

    `down` is (rank, inputs) and `up` (outputs, rank): their product is used in the place of the weight. The ranks are
    those that the budget leaves.
    """

    def __call__(
        self, model: VisionEncoderDecoderModel, references: References, ranks: Mapping[str, int]
    ) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]: ...


@dataclass(frozen=True, slots=True)
class Factored:
    """The teacher with its linear layers as products of two, so that `ratio` is left of its non-embedding parameters.

    A `ratio` above 1 is how many times smaller. Every layer keeps the same share of its weights; one that would have no
    fewer stays as it is.
    """

    factorization: Factorization
    ratio: float
    steps: ClassVar[tuple[Step, ...]] = ("factor",)

    def __post_init__(self) -> None:
        if not callable(self.factorization):
            raise UserError(f"factorization {self.factorization!r} cannot be called: it is what a plugin brings")
        share_of(self.ratio)
        object.__setattr__(self, "ratio", float(self.ratio))  # an option has the type of its value

    @property
    def share(self) -> float:
        return share_of(self.ratio)

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `UserError` if nothing comes near enough, `ValueError` for factors of other shapes."""
        from benchmark.models.donut import Donut
        from benchmark.slicing.ranks import factor, ranks_to

        model = references.load("teacher")
        assert isinstance(model, Donut)
        try:
            ranks = ranks_to(model, self.share)
        except ValueError as error:
            raise UserError(f"factoring linear layers: {error}") from error
        factor(model, self.factorization(model, references, ranks))
        return model

    def __str__(self) -> str:
        return f"teacher, linear layers factored by {self.factorization} to {self.share:.1%} of its parameters"


def factored(factorization: Factorization, ratio: float) -> Factored:
    """Begin with the teacher, each of its linear layers a product of two of low rank."""
    return Factored(factorization, ratio)
