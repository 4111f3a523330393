"""LoRA recovery: a model that was cut is mended by a low-rank update of each of its matrices alone.

LLM-Pruner (Ma et al. 2023, sections 3.2 and 3.3): structural groups go by a first-order Taylor score on ten documents,
and what is left recovers with LoRA (Hu et al. 2022, section 4.1): W x + alpha / r B A dropout(x), B zero at first;
W, norms and tables are frozen. At the end the updates are added to the weights: reading costs no more than before.

LLM-Pruner recovers on text by cross-entropy. Here the objective is that of every other cut row. It stands beside
`structured-ffn-distill`, where all weights of a model that was cut by magnitude move for as many steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import Attached, FeatureDistillation, Span, Strategy, UserError, hookimpl, sliced

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class LoRA:
    """Only low-rank updates of linear layers train; the output head, which is the table of tokens, is none of them."""

    rank: int = 8
    lora_alpha: float = 16.0
    dropout: float = 0.05

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"LoRA needs a rank of at least 1, not {self.rank}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is a share below 1, not {self.dropout:g}")

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Attached:
        return _Adapted(model, self)

    def __str__(self) -> str:
        return f"LoRA of rank {self.rank}"


class _Adapted(Attached):
    """A model whose weights are frozen, with an adapter at each linear layer."""

    def __init__(self, model: VisionEncoderDecoderModel, options: LoRA) -> None:
        from torch import nn

        self._frozen = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in self._frozen:
            weight.requires_grad_(False)
        head = model.decoder.get_output_embeddings()
        layers = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
        self._adapters = [_Adapter(layer, options) for layer in layers]

    def finish(self) -> None:
        """Add the updates to the weights."""
        for adapter in self._adapters:
            adapter.merge()
        for weight in self._frozen:
            weight.requires_grad_(True)


class _Adapter:
    """A low-rank update beside a linear layer, of which it is a part: what a killed training has saved comes back."""

    def __init__(self, layer: nn.Linear, options: LoRA) -> None:
        from torch import nn

        device = layer.weight.device
        down = nn.Linear(layer.in_features, options.rank, bias=False, device=device)
        up = nn.Linear(options.rank, layer.out_features, bias=False, device=device)
        nn.init.zeros_(up.weight)
        self._layer, self._down, self._up, self._scale = layer, down, up, options.lora_alpha / options.rank
        layer.add_module("lora", nn.Sequential(nn.Dropout(options.dropout), down, up))
        self._hook = layer.register_forward_hook(self._add)

    def _add(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self._layer.get_submodule("lora")(inputs[0])
        return output + self._scale * update

    def merge(self) -> None:
        import torch

        self._hook.remove()
        with torch.no_grad():
            self._layer.weight += self._scale * self._up.weight @ self._down.weight
        del self._layer.lora


RECOVERED = Strategy(
    name="lora-recovery",
    summary="feed-forward units cut out of the teacher by Taylor scores, then low-rank updates distilled from it",
    start=sliced("ffn", ratio=0.75, importance="taylor", documents=10),
    objective=FeatureDistillation(temperature=2.0),
    constraint=LoRA(),
    protocols=("task",),
    paper="Ma et al. 2023 (LLM-Pruner), section 3; Hu et al. 2022 (LoRA), section 4.1",
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield RECOVERED
