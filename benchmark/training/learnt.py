"""What an objective learns for itself, such as maps from the student's features to the teacher's, and then forgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from benchmark.types import Attached, LearntObjective, Objective, Outputs, Teaching

_MOMENTS = ("exp_avg", "exp_avg_sq")


def lesson_of(objective: Objective | LearntObjective) -> Objective:
    """The objective as a training calls it: with its parts, if it has some."""
    return Learnt(cast(LearntObjective, objective)) if hasattr(objective, "parts") else objective


class Learnt(Attached):
    """An objective with its parts, made for the first batch, which step by Adam whenever the model does.

    They are no weights of the model, so that nothing of them is saved with it.
    """

    def __init__(self, objective: LearntObjective) -> None:
        self._objective = objective
        self._parts: nn.Module | None = None
        self._optimizer: torch.optim.Adam | None = None
        self._kept: Mapping[str, torch.Tensor] = {}

    @property
    def teaching(self) -> Teaching:
        return self._objective.teaching

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        """The loss. Raises `ValueError` without a teacher."""
        if teacher is None:
            raise ValueError("an objective with parts of its own learns from the teacher's outputs")
        if self._parts is None:
            made: object = self._objective.parts(student, teacher)
            if not isinstance(made, nn.Module):
                raise TypeError(f"the parts of the objective are a {type(made).__name__}, not a Module")
            self._parts = made.to(labels.device)
            self._optimizer = torch.optim.Adam(self._parts.parameters(), self._objective.parts_rate)
            self._take_back()
        return self._objective(student, teacher, labels, self._parts)

    def after_step(self, step: int) -> None:
        assert self._optimizer is not None
        self._optimizer.step()
        self._optimizer.zero_grad()

    def state(self) -> dict[str, torch.Tensor]:
        """Parts and moments, by name."""
        if self._parts is None or self._optimizer is None:
            return {}
        state = {f"part {name}": value.detach() for name, value in self._parts.named_parameters()}
        for name, weight in self._parts.named_parameters():
            for what, value in self._optimizer.state[weight].items():
                state[f"{what} {name}"] = torch.as_tensor(value).detach()
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self._kept = state  # the parts are not there yet

    def _take_back(self) -> None:
        assert self._parts is not None
        assert self._optimizer is not None
        for name, weight in self._parts.named_parameters():
            if f"part {name}" in self._kept:
                with torch.no_grad():
                    weight.copy_(self._kept[f"part {name}"])
                if f"step {name}" in self._kept:  # or no gradient has reached it
                    moments = {what: self._kept[f"{what} {name}"].to(weight.device) for what in _MOMENTS}
                    self._optimizer.state[weight] = {"step": self._kept[f"step {name}"], **moments}
        self._kept = {}
