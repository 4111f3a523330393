"""The grid of rates: what validation said of each, and what it chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from benchmark.records.trials import Trial, best_rates


def rates_frame(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a strategy and data set, one column a rate; the last row of a strategy is the mean that decides.

    All trials are of one scale, protocol, budget and limit.
    """
    best = best_rates(trials)
    rates = sorted({trial.rate for trial in trials})
    rows = []
    for strategy in sorted({trial.strategy for trial in trials}):
        own = [trial for trial in trials if trial.strategy == strategy]
        for dataset in sorted({trial.dataset for trial in own}):
            of_dataset = [trial for trial in own if trial.dataset == dataset]
            rows.append([strategy, dataset, *(_cell(of_dataset, rate) for rate in rates), ""])
        chosen = f"{best[strategy]:g}" if strategy in best else "none"
        rows.append([strategy, "mean", *(_cell(own, rate) for rate in rates), chosen])
    return pd.DataFrame(rows, columns=["strategy", "data set", *(f"rate {rate:g}" for rate in rates), "chosen"])


def rates_markdown(trials: Sequence[Trial]) -> str:
    """The text of ``tables/rates.md``: a table for each scale, protocol, budget and limit."""
    lines = ["# Rates", ""]
    for setting in sorted({_setting(trial) for trial in trials}):
        lines += _section([trial for trial in trials if _setting(trial) == setting])
    return "\n".join(lines)


def _setting(trial: Trial) -> tuple[str, str, str, int]:
    return trial.scale, trial.protocol, trial.budget, trial.limit or 0


def _section(trials: Sequence[Trial]) -> list[str]:
    first = trials[0]
    steps = _values(trial.steps for trial in trials if trial.steps) or "no"
    limit = "" if first.limit is None else f", limit {first.limit}"
    return [
        f"N-TED accuracy on {_values(t.validation_documents for t in trials)} validation documents after "
        f"{steps} steps (scale {first.scale}, protocol {first.protocol}, budget {first.budget}{limit}, seed "
        f"{_values(t.seed for t in trials)}), for multiples of the budget's learning rate. The best mean over data "
        "sets is the strategy's rate under this protocol; the test split is not read. `python -m benchmark rates` "
        "makes this grid.",
        "",
        rates_frame(trials).to_markdown(index=False, disable_numparse=True),
        "",
    ]


def _values(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _cell(trials: Sequence[Trial], rate: float) -> str:
    teds = [trial.validation_ted for trial in trials if trial.rate == rate]
    known = [ted for ted in teds if ted is not None]
    if not teds:
        return ""
    return f"{sum(known) / len(known):.3f}" if len(known) == len(teds) else "failed"
