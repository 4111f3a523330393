"""``rates``: how fast each strategy learns, chosen on validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    BudgetOption,
    DeviceOption,
    NamesOption,
    PluginOption,
    ProtocolOption,
    ScaleOption,
    SeedsOption,
    SmokeOption,
    find_protocol,
)
from benchmark.cli.printing import echo
from benchmark.errors import UserError
from benchmark.plugin.manager import check_known, load_plugins
from benchmark.running.config import RunConfig, parse_seeds
from benchmark.running.protocols import select
from benchmark.scales import SCALES


def rates(
    strategies: NamesOption = "all",
    datasets: NamesOption = "all",
    scale: ScaleOption = "tiny",
    protocol: ProtocolOption = "paper",
    budget: BudgetOption = "quick",
    seeds: SeedsOption = "0",
    grid: Annotated[
        str, typer.Option("--rates", help="Multiples of the budget's learning rate, joined by commas.")
    ] = "0.25,0.5,1,2",
    output: Annotated[Path, typer.Option(help="Where rates.json and the checkpoints go.")] = Path("reports/local"),
    plugin: PluginOption = None,
    device: DeviceOption = "auto",
    limit: SmokeOption = None,
) -> None:
    """Train strategies at several learning rates, and print which is best on the validation split."""
    check_known("scale", scale, SCALES)
    way = find_protocol(protocol)
    registry = load_plugins(tuple(plugin or ()))
    chosen = select(registry, way, SCALES[scale].reading, strategies, datasets)
    values = parse_rates(grid)
    config = RunConfig(
        *chosen,
        scale=scale,
        protocol=way,
        budget=budget,
        seeds=parse_seeds(seeds),
        output=output,
        plugins=tuple(plugin or ()),
        device=device,
        limit=limit,
    )

    from benchmark.report import rates_frame
    from benchmark.running.rates import try_rates

    trials = try_rates(config, values)
    echo(rates_frame(trials).to_markdown(index=False, disable_numparse=True))


def parse_rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise UserError(f"--rates {text!r} is not a list of numbers above 0 joined by commas")
    return rates
