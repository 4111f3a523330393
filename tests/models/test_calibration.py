"""What layers are given and what the loss says of weights, against plain computations."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark import Calibration, UserError, gradients, mean_products, mean_squares, prunable
from benchmark.models.calibration import each, run_through, watched
from benchmark.models.donut import Donut
from benchmark.scales import TINY

TOKENS = 7


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Two pages of noise, the second with fewer tokens."""
    draws = torch.Generator().manual_seed(3)
    pixels = torch.randn(2, 3, TINY.height, TINY.width, generator=draws)
    labels = torch.randint(5, 60, (2, TOKENS), generator=draws)
    inputs = labels.roll(1, 1)
    labels[1, 4:] = -100
    return Calibration(pixels, inputs, labels)


def test_a_document_is_cut_to_its_own_tokens(calibration: Calibration) -> None:
    first, second = each(calibration)
    assert (first.labels.shape, second.labels.shape) == ((1, TOKENS), (1, 4))
    assert torch.equal(second.decoder_input_ids, calibration.decoder_input_ids[1:, :4])
    assert torch.equal(second.pixel_values, calibration.pixel_values[1:])


def test_no_documents_are_told_in_one_line(model: Donut, calibration: Calibration) -> None:
    none = Calibration(calibration.pixel_values[:0], calibration.decoder_input_ids[:0], calibration.labels[:0])
    for look in (lambda: mean_squares(model, none), lambda: list(gradients(model, none))):
        with pytest.raises(
            UserError, match=r"^a start that looks at data needs at least 1 document, and there is none$"
        ):
            look()


def test_rows_are_what_a_weight_multiplies(model: Donut, calibration: Calibration) -> None:
    """Of every prunable weight, the kernel of the patches too: weight x rows is what its layer gives."""
    rows: dict[str, torch.Tensor] = {}
    given: dict[str, torch.Tensor] = {}
    names = {f"{name}.weight": module for name, module in model.named_modules() if f"{name}.weight" in prunable(model)}
    for name, module in names.items():
        module.register_forward_hook(lambda module, args, output, name=name: given.update({name: output.detach()}))
    with watched(model, prunable(model), lambda name, inputs: rows.update({name: inputs})):
        run_through(model, calibration)
    assert rows.keys() == given.keys() == prunable(model).keys()
    for name, weight in prunable(model).items():
        module, output = names[name], given[name]
        assert isinstance(module, (nn.Linear, nn.Conv2d))
        bias = 0 if module.bias is None else module.bias
        whole = output.flatten(2).mT.flatten(0, 1) if isinstance(module, nn.Conv2d) else output.flatten(0, -2)
        torch.testing.assert_close(rows[name] @ weight.detach().flatten(1).T + bias, whole, rtol=1e-4, atol=1e-4)


def test_squares_are_the_diagonal_of_products(model: Donut, calibration: Calibration) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    with watched(model, prunable(model), lambda name, inputs: seen.setdefault(name, []).append(inputs)):
        run_through(model, calibration)
    squares = mean_squares(model, calibration)
    products = mean_products(model, calibration, ["decoder.model.decoder.layers.0.fc1.weight"])
    (product,) = products.values()
    for name, parts in seen.items():
        whole = torch.cat(parts)
        torch.testing.assert_close(squares[name], whole.square().mean(0), rtol=1e-4, atol=1e-7)
        if name in products:
            assert len(whole) == TOKENS + 4  # what is beyond the end is not looked at
            torch.testing.assert_close(product.float(), whole.T @ whole / len(whole), rtol=1e-4, atol=1e-6)


def test_gradients_are_those_of_each_document(model: Donut, calibration: Calibration) -> None:
    """By the definition of a derivative: along the gradient of a document its own loss falls as the norm says."""
    found = [{name: slope.clone() for name, slope in of.items()} for of in gradients(model, calibration)]
    assert all(weight.grad is None for weight in model.parameters())
    for slopes, document in zip(found, each(calibration), strict=True):
        name = "decoder.model.decoder.layers.0.fc1.weight"
        norm = slopes[name].norm()

        def loss(step: float, slope: torch.Tensor = slopes[name] / norm, document: Calibration = document) -> float:
            moved = deepcopy(model).double()
            with torch.no_grad():
                moved.get_parameter("decoder.model.decoder.layers.0.fc1.weight").add_(slope.double(), alpha=step)
                logits = moved(
                    pixel_values=document.pixel_values.double(), decoder_input_ids=document.decoder_input_ids
                ).logits
            return float(cross_entropy(logits.flatten(0, 1), document.labels.flatten()))

        assert (loss(1e-3) - loss(-1e-3)) / 2e-3 == pytest.approx(float(norm), rel=1e-3)
    assert not torch.allclose(found[0][name], found[1][name])


def test_watching_ends(model: Donut, calibration: Calibration) -> None:
    with watched(model, prunable(model), lambda name, inputs: pytest.fail("watched")):
        pass
    run_through(model, calibration)
