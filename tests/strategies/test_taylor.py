"""Taylor and SNIP: how the loss of documents turns on a weight, by small steps of that weight."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark import Calibration, References
from benchmark.models.calibration import each
from benchmark.models.donut import Donut
from donutbench_strategies.snip import Snip
from donutbench_strategies.taylor import Taylor

Both = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
DOCUMENTS = 3
NAMES = (
    "decoder.model.decoder.layers.0.encoder_attn.k_proj.weight",
    "decoder.model.decoder.layers.3.fc2.weight",
    "encoder.embeddings.patch_embeddings.projection.weight",
    "encoder.encoder.layers.0.downsample.reduction.weight",
)


@pytest.fixture(scope="module")
def teacher(references: References) -> Donut:
    model = references.load("teacher")
    assert isinstance(model, Donut)
    return model


@pytest.fixture(scope="module")
def exact(teacher: Donut) -> Donut:
    return deepcopy(teacher).double()


def losses(model: Donut, calibration: Calibration) -> torch.Tensor:
    """Of each document alone."""
    found = []
    for document in each(calibration):
        output = model(pixel_values=document.pixel_values.double(), decoder_input_ids=document.decoder_input_ids)
        found.append(cross_entropy(output.logits.flatten(0, 1), document.labels.flatten()))
    return torch.stack(found)


@torch.no_grad()
def turns(model: Donut, name: str, place: int, calibration: Calibration) -> torch.Tensor:
    """By document the derivative of the loss by a factor before one weight, at 1."""
    weight, step = model.get_parameter(name), 1e-3
    value, found = float(weight.flatten()[place]), []
    for factor in (1 + step, 1 - step):
        weight.view(-1)[place] = value * factor
        found.append(losses(model, calibration))
    weight.view(-1)[place] = value
    return (found[0] - found[1]) / (2 * step)


@pytest.fixture(scope="module")
def scores(teacher: Donut, references: References) -> Both:
    """Taylor's and SNIP's."""
    return Taylor(DOCUMENTS)(teacher, references, 0), Snip(DOCUMENTS)(teacher, references, 0)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_what_the_loss_says(name: str, scores: Both, exact: Donut, references: References) -> None:
    """Taylor squares before the mean over documents, SNIP adds up before the size."""
    calibration = references.calibration(DOCUMENTS)
    taylor, snip = (of[name].flatten() for of in scores)
    order = taylor.argsort(descending=True)
    for place in (int(order[0]), int(order[50])):
        slopes = turns(exact, name, place, calibration)
        assert float(taylor[place]) == pytest.approx(float(slopes.square().mean()), rel=1e-2)
        scale = float(slopes.abs().sum())
        assert float(snip[place]) == pytest.approx(float(slopes.sum().abs()), rel=1e-2, abs=1e-3 * scale)


def test_documents_that_disagree_cancel_out_in_snip_alone(
    scores: Both,
) -> None:
    """The sum over a batch is at most the root mean square times their number, and mostly far less."""
    taylor, snip = scores
    together = torch.cat([value.flatten() for value in snip.values()])
    apart = DOCUMENTS * torch.cat([value.flatten() for value in taylor.values()]).sqrt()
    assert (together <= apart * (1 + 1e-3) + 1e-12).all()
    assert (together < 0.5 * apart).float().mean() > 0.2


def test_scores_leave_no_gradient_and_no_change(teacher: Donut, references: References) -> None:
    before = {name: weight.detach().clone() for name, weight in teacher.named_parameters()}
    for score in (Taylor(1), Snip(1)):
        found = score(teacher, references, 0)
        assert all(not value.requires_grad and bool((value >= 0).all()) for value in found.values())
    assert all(weight.grad is None for weight in teacher.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.named_parameters())
