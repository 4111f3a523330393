"""What commands print, whatever the terminal can show."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any


def escape_unprintable() -> None:
    """From now on what the encoding of the output has no bytes for is printed as its escape, as it is on stderr."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def echo(text: str, err: bool = False) -> None:
    """Print a line or several, at once: what is printed later comes after it, and a full disk is told here.

    That of typer writes UTF-8 where the terminal shows ASCII.
    """
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def echo_json(value: Any, indent: int | None = 2, default: Callable[[Any], Any] | None = None) -> None:
    """Print JSON, with the escapes of JSON where the terminal does not show all characters."""
    shows_all = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    echo(json.dumps(value, indent=indent, ensure_ascii=not shows_all, default=default))
