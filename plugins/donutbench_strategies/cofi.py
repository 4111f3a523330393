"""CoFi: gates on units and on whole sublayers learn which of them the model can do without (Xia et al. 2022).

Section 3.1: every feed-forward unit and head is multiplied by a gate z, and so is every sublayer as a whole. A gate is
hard concrete (Louizos et al. 2018): s = sigmoid((log u - log(1 - u) + log a) / (2/3)), z = clamp(1.2 s - 0.1, 0, 1), of
uniform u; where the model is only read u is left out. The share s^ of the parameters that is left, as expected over u,
is driven to a target t, which falls linearly, by a Lagrangian: the loss gets l1 (s^ - t) + l2 (s^ - t)^2, in which
log a descends and l1, l2 ascend. Then the units of the least expectation are cut, until the budget is met, the gates of
the others become a part of the weights, and the rest of the training is fine-tuning, as theirs is.

Their gates of hidden channels are left out, for a channel at zero still counts in the norms around it, and one unit of
every sublayer stays. The loss is that of all rows here, in place of their layerwise distillation (section 3.2). A
quarter of the parameters goes, as in `structured-ffn`. Gates and multipliers learn by Adam, at rates for hundreds of
steps instead of their hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import Attached, FeatureDistillation, Span, Strategy, UserError, hookimpl, reference, share_of

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

_BETA, _LOW, _HIGH = 2 / 3, -0.1, 1.1
_GATES, _LAYERS, _MULTIPLIERS = "unit.", "sublayer.", "multipliers"


@dataclass(frozen=True, slots=True)
class Gates:
    """Which units go is learnt by gates, until `ratio` of the parameters is left.

    The target falls from what is expected in the beginning, is reached at the share `ramp` of the training, and the
    units are cut at `end`. Gates begin with log a = `initial`, and learn at `gate_rate`; the multipliers at
    `multiplier_rate`.
    """

    ratio: float
    ramp: float = 0.4
    end: float = 0.5
    initial: float = 3.0
    gate_rate: float = 0.2
    multiplier_rate: float = 0.5

    def __post_init__(self) -> None:
        for name in ("ratio", "ramp", "end", "initial", "gate_rate", "multiplier_rate"):
            object.__setattr__(self, name, float(getattr(self, name)))  # an option has the type of its value
        share_of(self.ratio)
        if not 0 < self.ramp <= self.end <= 1:
            raise UserError(f"ramp={self.ramp:g} and end={self.end:g}: 0 < ramp <= end <= 1 has to hold")

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Gating:
        """Raises `UserError` if the units that can go are too few or too many."""
        return Gating(model, span, self)

    def __str__(self) -> str:
        return f"units by learnt gates cut to {share_of(self.ratio):.1%} by {self.end:.0%} of the training"


class Gating(Attached):
    """The gates of one training; once they have chosen, the units that are left."""

    def __init__(self, model: VisionEncoderDecoderModel, span: Span, constraint: Gates) -> None:
        import torch

        from benchmark import UnitMask

        self._share = share_of(constraint.ratio)
        self._ramp, self._end = (max(1, round(part * span.steps)) for part in (constraint.ramp, constraint.end))
        self._units = UnitMask(model, self._share, "absolute")
        self._chosen, self._step = False, 0
        self._log_alpha: dict[str, torch.Tensor] = {}
        for name, sizes in self._units.sizes.items():
            for key, count in ((_GATES + name, len(sizes)), (_LAYERS + name, 1)):
                gates = torch.full((count,), constraint.initial, device=model.device)
                self._log_alpha[key] = gates.requires_grad_()
        self._multipliers = torch.zeros(2, device=model.device, requires_grad=True)
        self._optimizers = {
            "gates": torch.optim.Adam([*self._log_alpha.values()], constraint.gate_rate),
            "ascent": torch.optim.Adam([self._multipliers], constraint.multiplier_rate, maximize=True),
        }
        self._first = float(self._units.left(self.expected()).detach())
        self._generator = torch.Generator().manual_seed(torch.initial_seed())
        self._noise: dict[str, torch.Tensor] = {}
        self._draw()
        self._handles = self._units.gate(self._gate)

    def _draw(self) -> None:
        """u of the next step."""
        import torch

        for key, gates in self._log_alpha.items():
            uniform = torch.rand(len(gates), generator=self._generator).clamp(1e-6, 1 - 1e-6)
            self._noise[key] = uniform.logit().to(gates.device)

    def _gate(self, name: str, training: bool) -> torch.Tensor:
        return self._value(_GATES + name, training) * self._value(_LAYERS + name, training)

    def _value(self, key: str, training: bool) -> torch.Tensor:
        logits = self._log_alpha[key]
        concrete = ((logits + self._noise[key]) / _BETA).sigmoid() if training else logits.sigmoid()
        return (concrete * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def expected(self) -> dict[str, torch.Tensor]:
        """The probability of each unit that its gate and that of its sublayer are not closed."""
        from math import log

        def opened(key: str) -> torch.Tensor:
            return (self._log_alpha[key] - _BETA * log(-_LOW / _HIGH)).sigmoid()

        return {name: opened(_GATES + name) * opened(_LAYERS + name) for name in self._units.sizes}

    def penalty(self) -> torch.Tensor | None:
        if self._chosen:
            return None
        target = self._first + (self._share - self._first) * min(1.0, self._step / self._ramp)
        excess = self._units.left(self.expected()) - target
        first, second = self._multipliers
        added: torch.Tensor = first * excess + second * excess.square()
        return added

    def after_step(self, step: int) -> None:
        self._step = step
        if not self._chosen:
            for optimizer in self._optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
            self._draw()
            if step >= self._end:
                self._choose()
        if self._chosen:
            self._units.after_step(step)

    def _choose(self) -> None:
        import torch

        with torch.no_grad():
            self._units.shrink({name: alive.cpu() for name, alive in self.expected().items()}, self._share)
            self._units.fold({name: self._gate(name, training=False) for name in self._units.sizes})
        self._open()

    def _open(self) -> None:
        """Units that are left are whole from here on."""
        self._chosen = True
        for handle in self._handles:
            handle.remove()

    def state(self) -> Mapping[str, torch.Tensor]:
        import torch

        state = {
            **self._units.state(),
            **self._log_alpha,
            _MULTIPLIERS: self._multipliers,
            "random": self._generator.get_state(),
            "step": torch.tensor(self._step),
            "chosen": torch.tensor(self._chosen),
        }
        state |= {f"noise.{key}": noise for key, noise in self._noise.items()}
        for name, optimizer in self._optimizers.items():
            for number, kept in optimizer.state_dict()["state"].items():
                state |= {f"{name}.{number}.{what}": value for what, value in kept.items()}
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        import torch

        self._units.restore(state)
        with torch.no_grad():
            for key, gates in self._log_alpha.items():
                gates.copy_(state[key])
                self._noise[key] = state[f"noise.{key}"].to(gates.device)
            self._multipliers.copy_(state[_MULTIPLIERS])
        self._generator.set_state(state["random"])
        self._step = int(state["step"])
        for name, optimizer in self._optimizers.items():
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key in state:
                if key.startswith(f"{name}."):
                    number, what = key.removeprefix(f"{name}.").split(".")
                    moments.setdefault(int(number), {})[what] = state[key]
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        if bool(state["chosen"]):
            self._open()

    def check(self) -> None:
        self._units.check()

    def finish(self) -> VisionEncoderDecoderModel:
        return self._units.finish()


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="cofi",
        summary="the teacher, distilled while gates learn which feed-forward units and heads can be cut out of it",
        start=reference("teacher"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=Gates(ratio=0.75),
        paper="Xia et al. 2022 (CoFi), section 3.1",
        protocols=("task",),
    )
