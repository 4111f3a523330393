"""How soon a strategy's validation score comes near its end: what the paper calls faster convergence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.report.against import METHOD
from benchmark.report.reproduction.study import Study
from benchmark.report.reproduction.verdict import Verdict, above, together
from benchmark.report.rows import Row

SHARE = 0.9
_CONTROL = "prune-finetune"

Curve = Sequence[tuple[int, float]]
"""(step, validation N-TED accuracy), ended by the last step."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """A strategy on one data set, each number of its checkpoints: the steps to `SHARE` of its own final score, and to a
    level that is the same for all; None where it did not come there."""

    strategy: str
    paper_name: str | None
    finals: tuple[float, ...]
    own: tuple[int | None, ...]
    common: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Race:
    """One data set under one protocol: `level` is `SHARE` of the lowest mean final score among the paper's systems.

    `every` is the number of steps between two validations, `steps` all of them.
    """

    dataset: str
    protocol: str
    every: int
    steps: int
    level: float
    runners: tuple[Convergence, ...]

    @property
    def own(self) -> Verdict:
        """Of the claim that the method comes near its own final score before the paper's other systems."""
        return self._verdict(lambda runner: runner.own)

    @property
    def common(self) -> Verdict:
        """Of the claim that it comes to the common level before them."""
        return self._verdict(lambda runner: runner.common)

    def _verdict(self, get: Callable[[Convergence], Sequence[int | None]]) -> Verdict:
        ours = next(one for one in self.runners if one.paper_name == METHOD)
        others = [one for one in self.runners if one.paper_name and one is not ours]
        return together([above(self._known(get(other)), self._known(get(ours))) for other in others])

    def _known(self, steps: Sequence[int | None]) -> list[int]:
        """Who has not come there by the end comes later."""
        return [self.steps + 1 if step is None else step for step in steps]


def races(study: Study) -> list[Race]:
    """Where the paper's method and another of its systems have curves of the last training."""
    found = [_race(setting.dataset, setting.protocol, rows) for setting, rows in study.settings.items()]
    return [race for race in found if race]


def steps_to(curve: Curve, level: float) -> int | None:
    """The first validated step at which the score is at least `level`."""
    return next((step for step, score in curve if score >= level), None)


def _race(dataset: str, protocol: str, rows: Mapping[str, Row]) -> Race | None:
    curves = {
        name: [record.curve for record in row.distinct]
        for name, row in rows.items()
        if (row.paper_name or name == _CONTROL) and all(record.curve for record in row.distinct)
    }
    named = [name for name in curves if rows[name].paper_name]
    if len(named) < 2 or not any(rows[name].paper_name == METHOD for name in named):
        return None
    finals = {name: tuple(curve[-1][1] for curve in found) for name, found in curves.items()}
    level = SHARE * min(statistics.fmean(finals[name]) for name in named)
    runners = [
        Convergence(
            name,
            rows[name].paper_name,
            finals[name],
            tuple(steps_to(curve, SHARE * curve[-1][1]) for curve in found),
            tuple(steps_to(curve, level) for curve in found),
        )
        for name, found in curves.items()
    ]
    any_curve = next(iter(curves.values()))[0]
    return Race(dataset, protocol, any_curve[0][0], any_curve[-1][0], level, tuple(runners))
