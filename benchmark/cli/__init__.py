"""The command line: parses, calls and prints. One file a command.

A command imports what it calls inside its function, so that ``--help`` and ``list`` load no torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from benchmark.cli import (
    compare,
    costs,
    evaluate,
    export,
    generate,
    listing,
    perf,
    predict,
    pretrain,
    rates,
    report,
    rescore,
    run,
)
from benchmark.cli.printing import escape_unprintable
from benchmark.errors import UserError, one_line
from benchmark.processes import processes

# New versions of typer bundle click, old ones depend on it: this reaches the base of usage errors in both.
_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
_INTERRUPTED = 130
_DEBUG = "DONUTBENCH_DEBUG"

app = typer.Typer(
    help="Which compression of a document-understanding model is worth using?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("list")(listing.list_plugins)
app.command("report")(report.report)
app.command("rescore")(rescore.rescore)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("costs")(costs.costs)
app.command("export")(export.export)
app.command("generate")(generate.generate)
app.command("rates")(rates.rates)
app.command("perf")(perf.perf)
app.command("pretrain")(pretrain.pretrain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 good, 1 some cell failed, 2 wrong use, 130 interrupted."""
    escape_unprintable()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if processes() > 1 and given[:1] != ["run"]:
        return _complain("a launch of several processes is for run alone")
    try:
        code = app(args=given, standalone_mode=False)
    except _USAGE_ERROR as error:
        return _complain(f"{error.format_message()} See --help.")
    except (UserError, OSError) as error:
        return _complain(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except Exception as error:
        return _complain(_last_resort(error))
    if code == _INTERRUPTED:
        _complain("interrupted")
    return code or 0


def _last_resort(error: Exception) -> str:
    """One line on what nobody has foreseen."""
    if os.environ.get(_DEBUG):
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno}): nobody has foreseen "
        f"this; please report it with the traceback, which {_DEBUG}=1 shows"
    )


def _complain(message: str) -> int:
    print("donutbench:", one_line(message), file=sys.stderr)
    return 2
