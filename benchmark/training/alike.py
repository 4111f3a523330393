"""What of a teacher's outputs has a counterpart in a student that reads or writes less."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmark.models.donut import Donut
from benchmark.models.vocabulary import tokens_of
from benchmark.types import Outputs


def read_alike(student: Donut, teacher: Outputs, pixels: torch.Tensor) -> Outputs:
    """The teacher's memory at the cells alone that the student's decoder reads, and its attention to them, which adds
    up to 1 again; stages are compared in all cells.

    `pixels` are (documents, 3, height, width).
    """
    select = student.encoder.select
    if student.encoder.selection is None:
        return teacher
    encoder = (*teacher.encoder[:-1], *(select(memory, pixels) for memory in teacher.encoder[-1:]))
    found = (select(read.flatten(1, 2).mT, pixels).mT.unflatten(1, read.shape[1:3]) for read in teacher.cross)
    cross = tuple(read / read.sum(-1, keepdim=True).clamp(min=1e-6) for read in found)
    return replace(teacher, encoder=encoder, cross=cross)


def written_alike(
    model: Donut, student: Outputs, teacher: Outputs | None, labels: torch.Tensor
) -> tuple[Outputs, Outputs | None, torch.Tensor]:
    """Both outputs over the tokens alone that the student can write, and the labels as their places among these.

    So the teacher's probabilities add up to 1 over them again, as what is minus infinity could not be compared with.
    A label that cannot be written becomes -100, of which nothing is asked.
    """
    held, vocabulary = tokens_of(model), student.logits.shape[-1]
    if len(held) == vocabulary:
        return student, teacher, labels
    kept = torch.tensor(held, device=labels.device)
    places = torch.full((vocabulary,), -100, device=labels.device)
    places[kept] = torch.arange(len(kept), device=labels.device)
    found = places[labels.clamp(min=0)].masked_fill(labels == -100, -100)
    if teacher is not None:
        teacher = replace(teacher, logits=teacher.logits[..., kept])
    return replace(student, logits=student.logits[..., kept]), teacher, found
