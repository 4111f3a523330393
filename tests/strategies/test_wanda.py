"""Wanda: what goes is what an output misses least, by itself."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, linear

from benchmark import References, pruned
from benchmark.models.calibration import run_through, watched
from benchmark.models.donut import Donut
from benchmark.scales import TINY
from donutbench_strategies.wanda import Wanda

DOCUMENTS = 3
KERNEL = "encoder.embeddings.patch_embeddings.projection.weight"
MATRIX = "decoder.model.decoder.layers.1.fc1.weight"


def half(references: References) -> Donut:
    model = pruned(Wanda(DOCUMENTS), "half", allocation="rows")(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


def misses(given: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """By weight of a row the squared error of its output without that weight alone; `given` has what it multiplies."""
    lone = (torch.where(torch.arange(len(row)) == j, row, 0) for j in range(len(row)))
    return torch.stack([linear(given, weights).square().sum() for weights in lone])


def check(gone: torch.Tensor, missed: torch.Tensor) -> None:
    assert 0.3 * len(gone) < int(gone.sum()) < 0.7 * len(gone)
    assert missed[gone].max() <= missed[~gone].min() * (1 + 1e-4)


def test_of_a_matrix_each_output_keeps_what_it_would_miss(references: References) -> None:
    teacher, seen = references.load("teacher"), list[torch.Tensor]()
    assert isinstance(teacher, Donut)
    with watched(teacher, [MATRIX], lambda name, inputs: seen.append(inputs)):
        run_through(teacher, references.calibration(DOCUMENTS))
    given, after = torch.cat(seen).double(), half(references).get_parameter(MATRIX)
    for i in (0, 17, 90):
        check(after[i] == 0, misses(given, teacher.get_parameter(MATRIX)[i].detach().double()))


def test_of_the_patches_kernel_too(references: References) -> None:
    """By convolution, and not by what stands for it in a matrix."""
    pages = references.calibration(DOCUMENTS).pixel_values.double()
    before = references.load("teacher").get_parameter(KERNEL).detach().double()
    after = half(references).get_parameter(KERNEL)
    stride = before.shape[-1]
    for i in (0, 20):
        lone = torch.eye(before[i].numel(), dtype=torch.double).view(-1, *before.shape[1:]) * before[i]
        missed = conv2d(pages, lone, stride=stride).square().sum((0, 2, 3))
        check(after[i].flatten() == 0, missed)


def test_documents_of_more_tokens_count_for_more(references: References) -> None:
    """Rows are pooled: the mean over all is that of the documents, each by its number of rows."""
    from benchmark import mean_squares

    teacher = references.load("teacher")
    both = references.calibration(2)
    assert isinstance(teacher, Donut)
    lengths = (both.labels != -100).sum(1).double()
    apart = [mean_squares(teacher, references.calibration(1, draw))[MATRIX].double() for draw in (0, 1)]
    assert lengths[0] != lengths[1]
    expected = (lengths[0] * apart[0] + lengths[1] * apart[1]) / lengths.sum()
    torch.testing.assert_close(mean_squares(teacher, both)[MATRIX].double(), expected, rtol=1e-5, atol=1e-9)
