"""What the parts of a plugin are and how they are set: the same in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.types import Json

_DEEPEST = 30

_Inner = Callable[[object, str], Json]
"""The identity of a part of a value, by the name that it has there."""


def identity(value: object, what: str) -> Json:
    """A value as JSON: its qualified name and what it holds. `what` names the value in errors.

    Functions are their names (lambdas, their places) with what they are bound to: what they do is in the `content` of
    their plugin's files. Raises `UserError` for a value of which no two processes would say the same, such as an open
    file.
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
    name = _name(value) if value.__name__ != "<lambda>" else f"{_name(value)} at {_place(value.__code__)}"
    return [name, closure, inner(value.__defaults__, "defaults"), inner(value.__kwdefaults__, "defaults")]


def _place(code: CodeType) -> str:
    """Where in its file a function without a name of its own stands; before Python 3.11 that is its line alone."""
    columns = [column or 0 for *_, column, _ in code.co_positions()] if sys.version_info >= (3, 11) else [0]
    return f"{code.co_firstlineno}:{max(columns)}"


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
