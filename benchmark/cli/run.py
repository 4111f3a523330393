"""``run``: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import (
    PROTOCOL_HELP,
    BudgetOption,
    DataOption,
    DeviceOption,
    KeyOrderOption,
    NamesOption,
    PluginOption,
    ScaleOption,
    SeedsOption,
    SmokeOption,
    SplitOption,
    TeacherOption,
    find_protocol,
    parse_data,
    registry_of,
)
from benchmark.cli.printing import echo
from benchmark.errors import UserError
from benchmark.plugin.manager import check_known
from benchmark.processes import leads, leave
from benchmark.running.config import RunConfig, parse_seeds
from benchmark.running.protocols import select
from benchmark.scales import PAPER, SCALES, Changes
from benchmark.training.mechanics import Mechanics

if TYPE_CHECKING:
    from benchmark.records.record import Record

EXECUTORS = ("local",)
JOBS_HELP = "Cells side by side, each in a process of 2 to 3 GB on its share of the threads: the last digits change."


def run(
    strategies: NamesOption = "all",
    datasets: NamesOption = "all",
    scale: ScaleOption = "tiny",
    teacher: TeacherOption = None,
    protocol: Annotated[
        str | None, typer.Option(help=f"{PROTOCOL_HELP} With --teacher or --scale paper it is task.")
    ] = None,
    budget: BudgetOption = "quick",
    seeds: SeedsOption = "0",
    output: Annotated[Path, typer.Option(help="Where records and report go.")] = Path("reports/local"),
    data: DataOption = None,
    key_order: KeyOrderOption = None,
    split: SplitOption = None,
    plugin: PluginOption = None,
    jobs: Annotated[int, typer.Option(help=JOBS_HELP)] = 1,
    executor: Annotated[str, typer.Option(help=f"What runs the cells: {', '.join(EXECUTORS)}.")] = "local",
    device: DeviceOption = "auto",
    settings: Annotated[list[str] | None, typer.Option("--set", help="An option, as key=value.")] = None,
    sweep: Annotated[
        list[str] | None, typer.Option("--sweep", help="An option with several values, as key=value,value.")
    ] = None,
    limit: SmokeOption = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="With --teacher or --scale paper: write at most so many tokens.")
    ] = None,
    documents: Annotated[
        int | None, typer.Option(help="As --max-tokens: train on so many documents, each sight of one counted.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="As --max-tokens: documents a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="As --max-tokens: the highest of Adam.")] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(help="See a batch in so many parts, whose losses are averaged: less memory."),
    ] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations again instead of keeping them: less memory.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Log losses and rates for TensorBoard here; needs the extra of that name.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> int:
    """Run strategies on data sets and write records, tables and figures. Finished cells are not run again."""
    check_known("scale", scale, SCALES)
    own = teacher is not None or scale == PAPER.name
    chosen_protocol = find_protocol(protocol or ("task" if own else "paper"))
    check_known("executor", executor, EXECUTORS)
    plugins = tuple(plugin or ())
    folders = parse_data(data, key_order, split)
    registry = registry_of(plugins, folders)
    if folders and datasets == "all":  # whoever brings documents means those
        datasets = ",".join(folder.name for folder in folders)
    # All of this is told before the seconds that torch takes to load.
    chosen_strategies, chosen_datasets = select(registry, chosen_protocol, SCALES[scale].reading, strategies, datasets)
    config = RunConfig(
        strategies=chosen_strategies,
        datasets=chosen_datasets,
        scale=scale,
        protocol=chosen_protocol,
        budget=budget,
        seeds=parse_seeds(seeds),
        output=output,
        plugins=plugins,
        device=device,
        limit=limit,
        options=parse_settings(settings or ()),
        sweep=parse_sweep(sweep or ()),
        data=folders,
        jobs=jobs,
        teacher=teacher,
        changes=Changes(max_tokens, documents, batch, learning_rate, accumulate),
        mechanics=Mechanics(checkpointing=checkpointing, board=tensorboard),
    )

    from benchmark.report import write_report
    from benchmark.running.runner import outline
    from benchmark.running.runner import run as run_cells
    from benchmark.running.setup import set_up

    if dry_run:
        for line in outline(set_up(config)) if leads() else ():
            echo(line)
        return 0
    records = run_cells(config)
    if leads():
        write_report(output)
        _print_leaderboard(records, output)
        echo(f"see {output / 'leaderboard.md'}")
        _tell_failures(records)
    leave()
    return int(any(record.status == "failed" for record in records))


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise UserError(f"--set {setting!r} is not key=value")
        options[key] = value
    return options


def parse_sweep(sweeps: Sequence[str]) -> dict[str, tuple[str, ...]]:
    swept: dict[str, tuple[str, ...]] = {}
    for sweep in sweeps:
        key, equals, text = sweep.partition("=")
        values = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
        if not key or not equals or not all(values):
            raise UserError(f"--sweep {sweep!r} is not key=value,value")
        if key in swept:
            raise UserError(f"--sweep {key}: it has a value already")
        swept[key] = values
    return swept


def _print_leaderboard(records: Sequence[Record], output: Path) -> None:
    """The leaderboards that these records are in, with what other runs have left beside them."""
    from rich.console import Console

    from benchmark.cli.board import print_leaderboard
    from benchmark.records.files import read_records
    from benchmark.report.against import teds_of

    boards = {(record.dataset, record.protocol) for record in records}
    console = Console()
    if not console.is_terminal:
        console.width = 120
    shown = [record for record in read_records(output) if (record.dataset, record.protocol) in boards]
    print_leaderboard(shown, console, teds_of(output, shown))


def _tell_failures(records: Sequence[Record]) -> None:
    for record in records:
        if record.status == "failed":
            place = f"{record.strategy} on {record.dataset}, seed {record.seed}"
            echo(f"donutbench: {place}, failed: {record.error}", err=True)
