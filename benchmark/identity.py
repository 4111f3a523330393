"""What a plugin and its parts are: the same in every process, and another after every edit.

A key made of these changes with whatever a plugin does, and with nothing else.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.types import Json

_DEEPEST = 30

_Inner = Callable[[object, str], Json]
"""The identity of a part of a value, by the name that it has there."""


def identity(value: object, what: str) -> Json:
    """A value as JSON: its qualified name and what it holds. `what` names the value in errors.

    Functions are their names with what they are bound to: what they do is in the `content` of their plugin.
    Raises `UserError` for a value of which no two processes would say the same, such as an open file.
    """
    return _identity(value, what, 0)


def _identity(value: Any, what: str, depth: int) -> Json:
    if depth > _DEEPEST:
        raise UserError(f"{what:.200}... refers to itself or nests too deep to be known again")

    def inner(part: object, name: str) -> Json:
        return _identity(part, f"{what}.{name}", depth + 1)

    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, (ModuleType, type(None))):
        return [value.__qualname__, inner(value.__self__, "__self__")]
    if isinstance(value, (type, BuiltinFunctionType, ModuleType)):
        return _name(value)
    if isinstance(value, FunctionType):
        return _function(value, inner)
    if isinstance(value, MethodType):
        return [_name(value.__func__), inner(value.__self__, "__self__")]
    return [_name(type(value)), *_held(value, what, inner), *_attributes(value, inner)]


def _held(value: Any, what: str, inner: _Inner) -> Iterator[Json]:
    """What a value of any other type holds, as a value of its kind."""
    if isinstance(value, (complex, bytes, PurePath)):
        yield repr(value)
    elif isinstance(value, (list, tuple)):
        yield from (inner(item, str(i)) for i, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):  # iterated in another order in every process
        yield from sorted((inner(item, "item") for item in value), key=repr)
    elif isinstance(value, Mapping):
        yield from sorted(([inner(key, "key"), inner(item, str(key))] for key, item in value.items()), key=repr)
    elif isinstance(value, functools.partial):
        yield from (inner(part, name) for part, name in ((value.func, "func"), (value.args, "args")))
        yield inner(value.keywords, "keywords")
    elif isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        yield from (value.dtype.str, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest())
    elif _is_tensor(value):  # it would be copied with its place in memory
        data = value.detach().cpu().contiguous().flatten().view(sys.modules["torch"].uint8).numpy()
        yield from (str(value.dtype), list(value.shape), hashlib.sha256(data.tobytes()).hexdigest())
    elif dataclasses.is_dataclass(value):
        yield {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(value)}
    else:
        yield _state(value, what, inner)


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")  # not loaded for this: without it there are no tensors
    return torch is not None and isinstance(value, torch.Tensor)


_KINDS = (list, tuple, set, frozenset, dict)


def _attributes(value: Any, inner: _Inner) -> Iterator[Json]:
    """What a data class, or one's own kind of list, holds beside its fields or items."""
    if dataclasses.is_dataclass(value) or isinstance(value, _KINDS):
        fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        held = {name: part for name, part in getattr(value, "__dict__", {}).items() if name not in fields}
        if known := _lasting(value, held):
            yield {name: inner(part, name) for name, part in known.items()}


def _lasting(value: object, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without cached properties: those say nothing new, and come when they are first asked for."""
    kind = type(value)
    cached = functools.cached_property
    return {name: part for name, part in attributes.items() if not isinstance(getattr(kind, name, None), cached)}


def _state(value: object, what: str, inner: _Inner) -> Json:
    """The state of any object, as it would be copied; nothing is ever made of it again."""
    wrapped = getattr(value, "__wrapped__", None)  # functools.cache and its like
    if wrapped is not None:
        return inner(wrapped, "__wrapped__")
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        raise UserError(
            f"{what} is a {_name(type(value))}, of which no two processes say the same: a finished cell could not be "
            "told from another; let the part hold what this is made from"
        ) from None
    if isinstance(reduced, str):  # a global, by name
        return reduced
    if len(reduced) > 2 and isinstance(reduced[2], dict):
        reduced = (*reduced[:2], _lasting(value, reduced[2]), *reduced[3:])
    return [inner(list(part) if isinstance(part, Iterator) else part, "state") for part in reduced]


def _function(value: FunctionType, inner: _Inner) -> Json:
    """A function with its closure and defaults, which its file cannot tell."""
    cells: tuple[CellType, ...] = value.__closure__ or ()
    held = {name: _contents(cell) for name, cell in zip(value.__code__.co_freevars, cells, strict=True)}
    # A function that calls itself holds itself.
    closure = {name: inner(part, name) for name, part in held.items() if part is not value}
    return [_name(value), closure, inner(value.__defaults__, "defaults"), inner(value.__kwdefaults__, "defaults")]


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    # A file has a module name of its own that holds its place; where a plugin lies changes no result.
    module = "" if _is_loaded_file(value.__module__) else f"{value.__module__}."
    return f"{module}{value.__qualname__}"


FILE_PREFIX = "donutbench_plugin_"
"""Of the module names of plugins that were loaded from a file."""


def _is_loaded_file(module: str | None) -> bool:
    return module is not None and module.startswith(FILE_PREFIX)


def content(plugin: object) -> str:
    """A hash of the files of a plugin: its module and what that imports of its own package or folder.

    A package is hashed whole, data and all. A class or an object is where its class and its hooks are written. Modules
    of other packages count by the versions in the key, or not at all; a module without a file counts by its name.
    """
    contents = {name: _content(name, plugin) for name in _modules(plugin)}
    if len(contents) == 1:
        return contents.popitem()[1]
    return _digest({name: found.encode() for name, found in contents.items()})


def _modules(plugin: object) -> set[str]:
    if isinstance(plugin, ModuleType):
        return {plugin.__name__}
    kind = plugin if isinstance(plugin, type) else type(plugin)
    hooks = [getattr(plugin, name) for name in dir(plugin) if name.startswith("donutbench_")]
    return {kind.__module__, *(str(hook.__module__) for hook in hooks if callable(hook))}


def _content(name: str, plugin: object) -> str:
    path = Path(getattr(sys.modules.get(name, plugin), "__file__", None) or "")
    if not path.is_file():
        return _digest({name: b""})
    top = name.partition(".")[0]
    if path.name == "__init__.py":
        root = path.parents[name.count(".") + 1]
        around = _imported(sorted(path.parent.rglob("*.py")), root, top)
        inside = f"{path.parent.relative_to(root).as_posix()}/"
        others = {place: data for place, data in around.items() if place and not place.startswith(inside)}
        return _digest({**{f"/{place}": data for place, data in others.items()}, **_package(path.parent)})
    if "." not in name:  # a file looks for its neighbours
        return _digest(_imported([path], path.parent, None))
    depth = name.count(".")
    packages = [folder / "__init__.py" for folder in path.parents[:depth]]  # run before the module is
    return _digest(_imported([path, *filter(Path.is_file, packages)], path.parents[depth], top))


def _package(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _imported(paths: Sequence[Path], root: Path, package: str | None) -> dict[str, bytes]:
    """`paths` and all that they import below `root`, of `package` alone if that is given."""
    found: dict[str, bytes] = {}
    waiting = [*paths]
    while waiting:
        file = waiting.pop()
        # The plugin itself goes by no name, so that a copy of it elsewhere is the same.
        place = "" if file == paths[0] else file.relative_to(root).as_posix()
        if place not in found:
            found[place] = file.read_bytes()
            waiting += [
                module
                for name in _imports(found[place], file, root)
                if _counts(name.partition(".")[0], package)
                for module in _files(name, root)
            ]
    return found


def _counts(top: str, package: str | None) -> bool:
    """Whether what lies in the package `top` belongs to a plugin; the benchmark itself counts by its protocol."""
    return top == package if package else top != "benchmark"


def _imports(source: bytes, file: Path, root: Path) -> Iterator[str]:
    """The dotted names that a source imports, anywhere in it; of `from a import b` both a and a.b."""
    here = list(file.relative_to(root).parent.parts)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a neighbour that the plugin does without
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files that importing a dotted name runs, as far as they lie below `root`."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:depth])
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]
