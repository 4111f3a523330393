"""``costs``: what every strategy's model costs at a scale."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    SCALE_HELP,
    DeviceOption,
    NamesOption,
    PluginOption,
    TeacherOption,
    find_scale,
)
from benchmark.cli.printing import echo
from benchmark.plugin.manager import check_known, load_plugins
from benchmark.running.config import DEVICES, check_teacher
from benchmark.scales import PAPER, TINY, Changes


def costs(
    scale: Annotated[
        str | None, typer.Option(help=f"{SCALE_HELP} Without one it is paper, or that of the given teacher.")
    ] = None,
    strategies: NamesOption = "all",
    teacher: TeacherOption = None,
    output: Annotated[Path, typer.Option(help="Where costs.json and costs.md go.")] = Path("reports/local/costs"),
    rounds: Annotated[
        int, typer.Option(min=1, help="How often each model is timed, in turns; from 6 on latencies have an interval.")
    ] = 6,
    plugin: PluginOption = None,
    device: DeviceOption = "auto",
) -> int:
    """Measure what each strategy's model costs at a scale: weights, MACs, bytes, memory, latency. Nothing is trained.

    Weights are random where the scale has no checkpoints here: costs do not ask what was learnt.
    """
    sizes = find_scale(scale or (PAPER.name if teacher is None else TINY.name))
    check_teacher(teacher, "task", sizes.name, Changes())
    check_known("device", device, DEVICES)
    registry = load_plugins(plugin or ())
    chosen = [registry.strategies[name].item for name in registry.select("strategy", strategies)]

    from benchmark.devices import find_device
    from benchmark.records.lock import held
    from benchmark.records.sizes import write_sizes
    from benchmark.report.sizes import sizes_markdown, write_sizes_page
    from benchmark.sizing.costs import measure_sizes
    from benchmark.sizing.references import references_of

    place = find_device(device)
    references, processor = references_of(registry, sizes, teacher)
    with held(output):
        found = measure_sizes(chosen, references, processor, place, rounds, partial(echo, err=True))
        write_sizes(output, found)
        page = write_sizes_page(output, found)
    echo(sizes_markdown(found))
    echo(f"see {page}")
    failed = [row for row in found.rows if row.error is not None]
    for row in failed:
        echo(f"donutbench: {', '.join(row.strategies)}, failed: {row.error}", err=True)
    return 1 if failed else 0
