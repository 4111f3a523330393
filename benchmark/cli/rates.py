"""``rates``: how fast each strategy learns, chosen on validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    BUDGETS,
    DEVICES,
    BudgetOption,
    DeviceOption,
    NamesOption,
    PluginOption,
    ProtocolOption,
    ScaleOption,
    SeedsOption,
    SmokeOption,
    find_protocol,
    parse_seeds,
)
from benchmark.errors import UserError
from benchmark.plugin.manager import check_known, load_plugins
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
    check_known("budget", budget, BUDGETS)
    check_known("device", device, DEVICES)
    registry = load_plugins(tuple(plugin or ()))
    chosen = select(registry, way, SCALES[scale].reading, strategies, datasets)
    values = parse_rates(grid)
    numbers = parse_seeds(seeds)

    from benchmark.report import rates_frame
    from benchmark.running.rates import try_rates
    from benchmark.running.setup import RunConfig

    config = RunConfig(
        *chosen,
        scale=scale,
        protocol=way,
        budget=budget,
        seeds=numbers,
        output=output,
        plugins=tuple(plugin or ()),
        device=device,
        limit=limit,
    )
    trials = try_rates(config, values)
    typer.echo(rates_frame(trials).to_markdown(index=False, disable_numparse=True))


def parse_rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise UserError(f"--rates {text!r} is not a list of numbers above 0 joined by commas")
    return rates
