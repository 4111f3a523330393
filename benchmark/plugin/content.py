"""What a plugin does: a hash of its files, another after every edit of them."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType


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
