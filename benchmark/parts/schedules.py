"""Schedules: when a constraint prunes in the course of a training, and how much by then."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.errors import UserError


@dataclass(frozen=True, slots=True)
class Cubic:
    """Fast while there is much to spare, slow at the end (Zhu and Gupta 2017, section 3, equation 1).

    Of all that goes 1 - (1 - (t - t0) / (n dt))^3 is gone at step t. Pruning acts `times` times (their n), evenly from
    `begin` to `end`, which are shares of the training (t0 and t0 + n dt), and as often from there to `last`, if that is
    later, for a method that still changes its mind.
    """

    begin: float = 0.0
    end: float = 0.5
    last: float = 0.0
    times: int = 40

    def __post_init__(self) -> None:
        for name in ("begin", "end", "last"):
            object.__setattr__(self, name, float(getattr(self, name)))  # an option has the type of its value
        if not 0 <= self.begin < self.end <= 1:
            raise UserError(f"pruning from begin={self.begin:g} to end={self.end:g}: 0 <= begin < end <= 1 has to hold")
        if not 0 <= self.last <= 1:
            raise UserError(f"last={self.last:g} is no share of a training")
        if self.times < 1:
            raise UserError(f"pruning acts at least once, not {self.times} times")

    def due(self, step: int, steps: int) -> float | None:
        """The share of what goes that is gone after a step, from 1 on, of so many; None if nothing is decided then."""
        begin = min(round(self.begin * steps), steps - 1)
        ramp = max(round(self.end * steps) - begin, 1)
        turn, before = ((s - begin) * self.times // ramp for s in (step, step - 1))
        if turn == before or not begin < step <= max(begin + ramp, round(self.last * steps)):
            return None
        return 1 - (1 - min(turn / self.times, 1.0)) ** 3

    def __str__(self) -> str:
        return f"from {self.begin:.0%} to {self.end:.0%} of the training"
