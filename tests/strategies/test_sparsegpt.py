"""SparseGPT against brute force on a small layer, and against what it is to be better than."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmark import References, mean_products, prunable
from benchmark.models.calibration import run_through, watched
from benchmark.models.donut import Donut
from benchmark.scales import TINY
from donutbench_strategies.sparsegpt import ALONE, DAMPING, SparseGPT, blocks_of, settled

FEW = SparseGPT(documents=2)
Matrix = NDArray[np.float64]


@pytest.fixture(scope="module")
def pruned_model(references: References) -> Donut:
    model = FEW(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


def drawn(outputs: int, inputs: int, rows: int = 200, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix and correlated inputs, (outputs, inputs) and (rows, inputs)."""
    draws = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=draws, dtype=torch.double)
    return (
        torch.randn(outputs, inputs, generator=draws, dtype=torch.double),
        torch.randn(rows, inputs, generator=draws, dtype=torch.double) @ mixing,
    )


def products_of(rows: torch.Tensor) -> torch.Tensor:
    return rows.T @ rows / len(rows)


def surgeon(weights: Matrix, products: Matrix, remove: int, block: int) -> Matrix:
    """Optimal brain surgeon, an output and an input at a time, each time with an inverse for what is left."""
    outputs, inputs = weights.shape
    curvature = products + DAMPING * np.diag(products).mean() * np.eye(inputs)
    inverses = [np.linalg.inv(curvature[j:, j:]) for j in range(inputs)]
    found = weights.copy()
    for begin in range(0, inputs, block):
        columns = range(begin, min(begin + block, inputs))
        costs = {(i, j): found[i, j] ** 2 / inverses[j][0, 0] for i in range(outputs) for j in columns}
        quota = remove * (columns[-1] + 1) // inputs - remove * begin // inputs
        gone = set(sorted(costs, key=lambda place: costs[place])[:quota])
        for j in columns:
            for i in range(outputs):
                if (i, j) in gone:
                    found[i, j:] -= found[i, j] / inverses[j][0, 0] * inverses[j][0]
                    found[i, j] = 0
    return found


@pytest.mark.parametrize("block", [1, 3, 4, 7, 128])
@pytest.mark.parametrize("remove", [1, 9, 17, 27])
def test_a_layer_is_what_the_brain_surgeon_makes_of_it(block: int, remove: int) -> None:
    weights, rows = drawn(4, 7)
    products = products_of(rows)
    expected = surgeon(weights.numpy(), products.numpy(), remove, block)
    np.testing.assert_allclose(settled(weights, products, remove, block), expected, rtol=1e-9, atol=1e-10)


def test_what_one_input_gave_the_others_give_to_the_least_squares() -> None:
    """Its weights gone and the rest free, that is a regression, as damped."""
    weights, rows = drawn(3, 6)
    rows[:, 0] = rows[:, 1:].mean(1)  # the others can say it, so it goes first
    weights = weights + weights.sign()
    found = settled(weights, products_of(rows), 3)
    assert torch.equal(found == 0, torch.arange(6).expand(3, 6) == 0)
    pull = (DAMPING * rows.square().mean() * len(rows)).sqrt()
    system = torch.cat([rows, pull * torch.eye(6, dtype=torch.double)])
    torch.testing.assert_close(found[:, 1:], torch.linalg.lstsq(system[:, 1:], system @ weights.T).solution.T)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 10), st.data())
def test_as_many_go_as_are_asked_for(outputs: int, inputs: int, block: int, data: st.DataObject) -> None:
    weights, rows = drawn(outputs, inputs)
    remove = data.draw(st.integers(0, outputs * inputs))
    before = weights.clone()
    found = settled(weights, products_of(rows), remove, block)
    assert int((found == 0).sum()) == remove
    assert torch.equal(weights, before)
    if remove == 0:
        assert torch.equal(found, weights)


def test_inputs_that_are_always_zero_go_first_and_cost_nothing() -> None:
    weights, rows = drawn(4, 8)
    rows[:, [2, 5]] = 0
    alive = [0, 1, 3, 4, 6, 7]
    found = settled(weights, products_of(rows), 8)
    assert (found[:, [2, 5]] == 0).all()
    assert torch.equal(found[:, alive], weights[:, alive])
    assert int((settled(weights, products_of(rows), 5) == 0).sum()) == 5  # no more than were asked for
    both = settled(weights, products_of(rows), 8 + 9)
    assert both.isfinite().all()
    assert int((both == 0).sum()) == 17
    assert settled(weights, torch.zeros(8, 8, dtype=torch.double), 10).isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "encoder.embeddings.patch_embeddings.projection.weight",
        "encoder.encoder.layers.1.blocks.0.output.dense.weight",
        "decoder.model.decoder.layers.0.fc1.weight",
        "decoder.model.decoder.layers.3.encoder_attn.k_proj.weight",
    ],
)
def test_a_layer_gives_more_of_what_it_gave_than_by_magnitude_or_wanda(name: str, references: References) -> None:
    teacher, seen = references.load("teacher"), list[torch.Tensor]()
    assert isinstance(teacher, Donut)
    calibration = references.calibration(4)
    with watched(teacher, [name], lambda name, inputs: seen.append(inputs)):
        run_through(teacher, calibration)
    rows, weights = torch.cat(seen), teacher.get_parameter(name).detach().flatten(1)
    remove = weights.shape[0] * (7 * weights.shape[1] // 10)

    def error(found: torch.Tensor) -> float:
        assert int((found == 0).sum()) == remove
        return float(((weights - found) @ rows.T).square().sum())

    by_magnitude = weights.flatten().scatter(0, weights.abs().flatten().argsort()[:remove], 0).view_as(weights)
    worth = weights.abs() * rows.norm(dim=0)
    by_wanda = weights.scatter(1, worth.argsort(1)[:, : remove // len(weights)], 0)
    ours = error(settled(weights, mean_products(teacher, calibration, [name])[name], remove))
    assert ours < 0.7 * min(error(by_magnitude), error(by_wanda))


def test_without_pruning_nothing_changes(references: References) -> None:
    model = SparseGPT(documents=1, target="0")(references, TINY, 0)
    for name, weight in references.load("teacher").named_parameters():
        assert torch.equal(model.get_parameter(name), weight)


def test_every_block_loses_the_same_share(pruned_model: Donut) -> None:
    weights = prunable(pruned_model)
    gone = sum(int((weight == 0).sum()) for weight in weights.values())
    share = gone / sum(weight.numel() for weight in weights.values())
    for weight in weights.values():
        for part in weight.flatten(1).split(128, 1):
            assert int((part == 0).sum()) == pytest.approx(share * part.numel(), abs=2)


@pytest.mark.parametrize(
    "part",
    [
        "encoder.embeddings.",
        "encoder.encoder.layers.0.downsample.",
        "encoder.encoder.layers.1.blocks.1.",
        "decoder.model.decoder.layers.2.",
    ],
)
def test_a_block_is_settled_on_what_the_pruned_ones_before_it_give(
    part: str, pruned_model: Donut, references: References
) -> None:
    """With its own weights put back, the finished model gives a block what it was settled on."""
    teacher, model = references.load("teacher"), deepcopy(pruned_model)
    names = [name for name in prunable(model) if name.startswith(part)]
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).copy_(teacher.get_parameter(name))
    for name, products in mean_products(model, references.calibration(FEW.documents), names).items():
        found = pruned_model.get_parameter(name).detach()
        again = settled(teacher.get_parameter(name).detach().flatten(1), products, int((found == 0).sum()))
        torch.testing.assert_close(again.view_as(found), found, rtol=1e-4, atol=1e-6)


def test_blocks_are_told_by_their_numbers() -> None:
    names = [
        "encoder.patches.weight",
        "encoder.layers.0.blocks.0.query.weight",
        "encoder.layers.0.blocks.0.output.dense.weight",
        "encoder.layers.0.blocks.1.query.weight",
        "encoder.layers.0.downsample.weight",
        "encoder.layers.1.blocks.0.query.weight",
        "bridge.down.weight",
        "bridge.up.weight",
        "decoder.layers.10.fc1.weight",
    ]
    assert [len(block) for block in blocks_of(names)] == [1, 2, 1, 1, 1, 1, 1, 1]
    assert [name for block in blocks_of(names) for name in block] == names


def test_it_says_what_it_is() -> None:
    assert str(ALONE.start) == "teacher, SparseGPT-pruned by 73.8%"
    assert str(SparseGPT(ratio=4)) == "teacher, SparseGPT-pruned by 75.0%"
