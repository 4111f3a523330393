"""Finds strategies and data sets: those of installed packages by entry point, others by file.

The built-ins come in through the same entry-point group as a stranger's package. A plugin that does not work
is an error that names it, never a warning. The manager is made anew for every call: nothing is global.
"""

from __future__ import annotations

import os
import sys
import traceback
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import pluggy

from benchmark.errors import UserError, error_line, one_line, shown
from benchmark.plugin import hookspecs
from benchmark.plugin.content import content
from benchmark.plugin.fields import problem_of
from benchmark.plugin.identity import FILE_PREFIX
from benchmark.types import Dataset, Strategy

GROUP = "donutbench"
HOOKS = ("donutbench_register_datasets", "donutbench_register_strategies")

Item = TypeVar("Item", Strategy, Dataset)


@dataclass(frozen=True, slots=True)
class Registered(Generic[Item]):
    """A strategy or data set, where it comes from, such as ``donutbench 0.1.0 (module)`` or a file, and its plugin.

    A folder of documents has no plugin.
    """

    item: Item
    source: str
    plugin: object = None

    @property
    def content(self) -> str:
        """A hash of the files of the plugin (`benchmark.plugin.content`); empty without one."""
        return content(self.plugin) if self.plugin is not None else ""


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that plugins registered, each kind sorted by name."""

    strategies: dict[str, Registered[Strategy]]
    datasets: dict[str, Registered[Dataset]]

    def select(self, kind: Literal["strategy", "dataset"], wanted: str) -> tuple[str, ...]:
        """The names in ``"a,b"``, in that order, or for ``"all"`` every one but those on request.

        Raises `UserError` for a name that is not registered, and for ``"all"`` of nothing.
        """
        known: Mapping[str, object] = self.strategies if kind == "strategy" else self.datasets
        if wanted == "all":
            if not known:
                raise UserError(f"no {kind} is registered: install the package that brings one, or use --plugin")
            return tuple(name for name in known if not (kind == "dataset" and self.datasets[name].item.on_request))
        names = dict.fromkeys(name.strip() for name in wanted.split(","))
        return tuple(check_known(kind, name, known) for name in names)


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is `known`, else raise `UserError` with the nearest names, or else all."""
    known = sorted(known)
    if name in known:
        return name
    near = get_close_matches(name, known, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known) or 'none'}"
    raise UserError(f"unknown {kind} {name!r}: {hint}")


def load_plugins(files: Sequence[Path] = ()) -> Registry:
    """Load the installed plugins and the plugin `files`.

    Raises `UserError`, naming the plugin, if one cannot be loaded, implements a misspelt hook, registers
    nothing or what is neither strategy nor data set, or takes a name that another has.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for entry in entry_points(group=GROUP):
        source = _entry_source(entry)
        _add(manager, _load_entry(entry, source), source)
    for file in files:
        _add(manager, _load_file(file), one_line(str(file)))
    registry = Registry(
        strategies=_collect(manager.hook.donutbench_register_strategies, Strategy),
        datasets=_collect(manager.hook.donutbench_register_datasets, Dataset),
    )
    _check_all_register(manager, registry)
    return registry


def _entry_source(entry: EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"
    return f"{package} ({entry.value})"


def _load_entry(entry: EntryPoint, source: str) -> object:
    try:
        with _silent():
            return entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, even SystemExit
        raise UserError(f"plugin {source}: entry point {entry.name!r} fails to load: {_describe(error)}") from error


def _load_file(path: Path) -> ModuleType:
    """Import one file as a module under a name of its own, so that equal file names do not clash."""
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"plugin {path}: no such Python file")
    name = f"{FILE_PREFIX}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin {path}: Python cannot import it")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    try:
        with _silent():
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(f"plugin {path} fails to load: {_describe(error)}") from error
    return module


def _silent() -> AbstractContextManager[object]:
    """What a plugin prints is no part of what a command prints, such as JSON."""
    return redirect_stdout(sys.stderr)


def _add(manager: pluggy.PluginManager, plugin: object, source: str) -> None:
    """Register a plugin under its source; pluggy checks the arguments, then the names of what is marked."""
    _check_spelling(manager, plugin, source)
    try:
        manager.register(plugin, name=source)
        manager.check_pending()
    except ValueError as error:
        raise UserError(f"plugin {source} is registered twice") from error
    except pluggy.PluginValidationError as error:
        raise UserError(f"plugin {source}: {one_line(str(error))}") from error


def _check_spelling(manager: pluggy.PluginManager, plugin: object, source: str) -> None:
    """Find what pluggy passes over: functions that look like hooks and are misspelt or not marked."""
    for name in dir(plugin):
        if not name.startswith("donutbench_") or not callable(getattr(plugin, name)):
            continue
        try:
            check_known("hook", name, HOOKS)
        except UserError as error:
            raise UserError(f"plugin {source}: {error}") from None
        if manager.parse_hookimpl_opts(plugin, name) is None:
            raise UserError(f"plugin {source}: {name} lacks @hookimpl")


def _collect(hook: pluggy.HookCaller, kind: type[Item]) -> dict[str, Registered[Item]]:
    found: dict[str, Registered[Item]] = {}
    word = kind.__name__
    for implementation in hook.get_hookimpls():
        source = implementation.plugin_name
        for item in _items(implementation, source):
            if not isinstance(item, kind):
                raise UserError(f"plugin {source}: {hook.name} yields {shown(item)}, which is not a {word}")
            problem = problem_of(item)
            if problem is not None:
                raise UserError(f"plugin {source}: {word.lower()} {item.name!r}: {problem}")
            if item.name in found:
                other = found[item.name].source
                raise UserError(f"{word} {item.name!r} is registered twice: by {other} and by {source}")
            found[item.name] = Registered(item, source, implementation.plugin)
    return dict(sorted(found.items()))


def _items(implementation: pluggy.HookImpl, source: str) -> list[object]:
    try:
        with _silent():
            items: Any = implementation.function()
            return list(items)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as above
        name = implementation.function.__name__
        raise UserError(f"plugin {source}: {name} fails: {_describe(error)}") from error


def _check_all_register(manager: pluggy.PluginManager, registry: Registry) -> None:
    used = {entry.source for entry in registry.strategies.values()}
    used |= {entry.source for entry in registry.datasets.values()}
    for source, _ in manager.list_name_plugin():
        if source not in used:
            raise UserError(f"plugin {source} registers no strategy and no data set")


def _describe(error: BaseException) -> str:
    """The error in one line, with the place in the plugin where it arose."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    # The first frame is this module's own call.
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{error_line(error)}{place}"
