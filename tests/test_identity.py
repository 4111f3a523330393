"""What a plugin is: the same in every process, another after every edit of what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from functools import cache, cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.plugin.content import content
from benchmark.plugin.identity import identity
from benchmark.plugin.manager import load_plugins

ROOT = Path(__file__).parents[1]

PLUGIN = """
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark import Strategy, hookimpl

NAME = "teacher"

def helper(references):
    return references.load(NAME)

def plain(references, scale, seed):
    return helper(references)

class Maker:
    def __init__(self, *names):
        self.names = set(names)
    def make(self, references, scale, seed):
        return helper(references)

@dataclass
class Folder:
    path: Path
    def __call__(self, references, scale, seed):
        return helper(references)

def closed(factor):
    def start(references, scale, seed):
        return helper(references), factor
    return start

class Loss:
    teaching = "none"
    def __call__(self, student, teacher, labels):
        return student.logits.mean()

@hookimpl
def donutbench_register_strategies():
    starts = {
        "plain": plain,
        "partial": partial(closed(2.0), seed=7),
        "bound": Maker("a", "b", "c", "d", "e").make,
        "lambda": lambda references, scale, seed: helper(references),
        "closed": closed({"x": {1, "y", (2, 3)}, "z": frozenset("abc")}),
        "folder": Folder(Path("a/b")),
    }
    for name, start in starts.items():
        yield Strategy(name, "mine", start=start, objective=Loss())
"""
STARTS = ("plain", "partial", "bound", "lambda", "closed", "folder")

SAY = """
import sys
from benchmark.running.cells import identity_of
from benchmark.plugin.manager import load_plugins
for name, entry in load_plugins([__import__("pathlib").Path(sys.argv[1])]).strategies.items():
    if entry.source == sys.argv[1]:
        print(name, entry.content, identity_of(entry.item))
"""


def said(path: Path, hash_seed: int) -> str:
    """What another process says of the strategies of a file."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    command = [sys.executable, "-c", SAY, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_every_process_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    first, second = said(path, 1), said(path, 2)
    assert [line.split()[0] for line in first.splitlines()] == sorted(STARTS)
    assert first == second
    assert "0x" not in first, "a place in memory"


EDITS = {
    "a module constant": ('NAME = "teacher"', 'NAME = "none"'),
    "a helper": ("return references.load(NAME)", "return references.load(NAME).half()"),
    "a closure": ("return helper(references), factor", "return factor"),
    "an objective": ("student.logits.mean()", "student.logits.sum()"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_seen(edit: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    before = load_plugins([path]).strategies["plain"].content
    path.write_text(PLUGIN.replace(*EDITS[edit]))
    registry = load_plugins([path])
    assert registry.strategies["plain"].content != before
    assert registry.strategies["prune"].content == load_plugins().strategies["prune"].content


def test_where_a_file_lies_is_no_part_of_it(tmp_path: Path) -> None:
    contents = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "mine.py"
        path.write_text(PLUGIN)
        entry = load_plugins([path]).strategies["plain"]
        contents.add((entry.content, repr(identity(entry.item.start, "start"))))
    assert len(contents) == 1


Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return written


def content_of(module: str) -> str:
    __import__(module)
    return content(sys.modules[module])


class TestContent:
    """Of a plugin: its module and what that imports of its own package, however it imports it."""

    @pytest.mark.parametrize(
        "line",
        [
            "from pack_{n}.deep import helper",
            "from pack_{n}.deep.helper import made",
            "import pack_{n}.deep.helper",
            "from .deep import helper",
            "from .deep.helper import made",
            "def late():\n    from pack_{n}.deep.helper import made",
        ],
    )
    def test_a_module_of_a_package_with_what_it_imports(self, line: str, write: Write) -> None:
        n = f"{abs(hash(line))}"
        write(f"pack_{n}/__init__.py", "")
        write(f"pack_{n}/deep/__init__.py", "")
        write(f"pack_{n}/plugin.py", line.format(n=n))
        write(f"pack_{n}/deep/helper.py", f"import pack_{n}.words\nmade = 1")
        write(f"pack_{n}/words.py", "words = 'a'")
        write(f"pack_{n}/stranger.py", "nobody = 'imports this'")
        before = content_of(f"pack_{n}.plugin")
        write(f"pack_{n}/stranger.py", "nobody = 'imports that'")
        assert content_of(f"pack_{n}.plugin") == before
        write(f"pack_{n}/words.py", "words = 'b'")
        words = content_of(f"pack_{n}.plugin")
        assert words != before
        write(f"pack_{n}/deep/helper.py", f"import pack_{n}.words\nmade = 2")
        assert content_of(f"pack_{n}.plugin") not in (before, words)

    def test_a_module_with_what_its_package_runs_first(self, write: Write) -> None:
        write("pack_first/__init__.py", "import pack_first.settings")
        write("pack_first/settings.py", "x = 1")
        write("pack_first/plugin.py", "y = 1")
        before = content_of("pack_first.plugin")
        write("pack_first/settings.py", "x = 2")
        assert content_of("pack_first.plugin") != before

    def test_a_package_is_taken_whole(self, write: Write) -> None:
        write("whole_package/__init__.py", "")
        write("whole_package/data/words.json", "[1]")
        before = content_of("whole_package")
        write("whole_package/__pycache__/x.pyc", "compiled")
        assert content_of("whole_package") == before
        write("whole_package/data/words.json", "[2]")
        assert content_of("whole_package") != before

    def test_a_package_within_another_with_what_it_imports_of_that(self, write: Write) -> None:
        write("outer_pack/__init__.py", "")
        write("outer_pack/helper.py", "made = 1")
        write("outer_pack/stranger.py", "nobody = 'imports this'")
        write("outer_pack/inner/__init__.py", "from .part import made")
        write("outer_pack/inner/part.py", "from ..helper import made")
        before = content_of("outer_pack.inner")
        write("outer_pack/stranger.py", "nobody = 'imports that'")
        assert content_of("outer_pack.inner") == before
        write("outer_pack/helper.py", "made = 2")
        assert content_of("outer_pack.inner") != before

    @pytest.mark.parametrize("plugin", ["Plugin", "made", "plain"])
    def test_a_class_or_an_object_with_the_file_of_its_hooks(self, plugin: str, write: Write) -> None:
        text = f"""
            from types import SimpleNamespace

            class Plugin:
                @staticmethod
                def donutbench_register_strategies():
                    return ["{plugin}"]

            made = Plugin()
            plain = SimpleNamespace(donutbench_register_strategies=Plugin.donutbench_register_strategies)
        """
        path = write(f"objects_{plugin}.py", text)
        found = getattr(__import__(path.stem), plugin)
        before = content(found)
        write(path.name, text.replace("return [", "return [1, "))
        assert content(found) != before

    def test_a_neighbour_that_cannot_be_read_is_no_obstacle(self, write: Write) -> None:
        write("of_python_2.py", "print 1")
        write("does_without.py", "try:\n    import of_python_2\nexcept SyntaxError:\n    pass")
        before = content_of("does_without")
        write("of_python_2.py", "print 2")
        assert content_of("does_without") != before

    def test_a_file_with_its_neighbours_but_not_with_the_benchmark(self, write: Write) -> None:
        write("neighbour_of_mine.py", "x = 1")
        write("benchmark/__init__.py", "x = 1")
        path = write("mine_alone.py", "import neighbour_of_mine\n" + PLUGIN)
        before = load_plugins([path]).strategies["plain"].content
        write("benchmark/__init__.py", "x = 2")
        assert load_plugins([path]).strategies["plain"].content == before
        write("neighbour_of_mine.py", "x = 2")
        assert load_plugins([path]).strategies["plain"].content != before

    def test_the_embedded_data_sets_count_what_draws_them(self) -> None:
        from benchmark.plugin.content import _imported

        path = ROOT / "plugins" / "donutbench_datasets" / "receipts_mini.py"
        found = {Path(name).name for name in _imported([path], ROOT / "plugins", "donutbench_datasets")}
        assert found == {"", "__init__.py", "embedded.py", "render.py", "words.py"}


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a: object) -> None:
        self.a = a


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held

    def read(self) -> object:
        return self.held


class More(Holder, list[int]):
    pass


@dataclass
class Made:
    """What is made of its argument is no field."""

    size: InitVar[int]

    def __post_init__(self, size: int) -> None:
        self.table = [size]

    @cached_property
    def slow(self) -> int:
        return self.table[0]


class Lazy(Holder):
    @cached_property
    def slow(self) -> object:
        return self.held


def function(x: int = 1, *, y: int = 2) -> int:
    return x + y


@cache
def cached() -> int:
    return 1


def closed_in(n: int) -> Callable[[], int]:
    return lambda: n


ALIKE = [lambda: 1 for _ in range(2)]
KNOWN: dict[str, tuple[Any, Any, Any]] = {
    "number": (1, 1, 1.0),
    "truth": (True, True, 1),
    "text": ("a", "a", b"a"),
    "list": ([1, 2], [1, 2], (1, 2)),
    "set": ({"a", "b", "c"}, {"c", "b", "a"}, {"a", "b"}),
    "dictionary": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}),
    "array": (np.arange(3), np.arange(3), np.arange(3.0)),
    "array scalar": (np.float32(0.5), np.float32(0.5), np.float64(0.5)),
    "tensor": (torch.ones(2), torch.ones(2), torch.zeros(2)),
    "tensor of halves": (torch.ones((), dtype=torch.bfloat16), torch.ones((), dtype=torch.bfloat16), torch.ones(())),
    "layer": (torch.nn.LayerNorm(2), torch.nn.LayerNorm(2), torch.nn.LayerNorm(2, eps=1)),
    "method of a built-in": ({1: 2}.get, {1: 2}.get, {1: 3}.get),
    "data class that makes more": (Made(1), Made(1), Made(2)),
    "one's own list": (More([1]), More([1]), More([2])),
    "path": (PurePosixPath("a"), PurePosixPath("a"), PurePosixPath("b")),
    "partial": (partial(function, 1), partial(function, 1), partial(function, 2)),
    "bound method": (Holder(1).read, Holder(1).read, Holder(2).read),
    "plain object": (Holder([1]), Holder([1]), Holder([2])),
    "object with slots": (Slots(1), Slots(1), Slots(2)),
    "seeded generator": (np.random.default_rng(1), np.random.default_rng(1), np.random.default_rng(2)),
    "closure": (closed_in(1), closed_in(1), closed_in(2)),
    "lambda": (ALIKE[0], ALIKE[1], lambda: 1),
    "class": (Holder, Holder, Slots),
    "wrapped": (cached, cached, function),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_value_is_what_it_holds(kind: str) -> None:
    one, same, other = KNOWN[kind]
    assert identity(one, "it") == identity(same, "it")
    assert repr(identity(one, "it")) != repr(identity(other, "it")), "1 and 1.0 are equal, but not the same"


@pytest.mark.parametrize("value", [Lazy(1), Made(1)], ids=["object", "data class"])
def test_what_is_cached_while_it_works_is_no_part_of_it(value: Lazy | Made) -> None:
    before = identity(value, "it")
    assert value.slow == 1
    assert identity(value, "it") == before


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python does not say where on a line code stands")
def test_lambdas_of_one_line_are_two() -> None:
    one, other = lambda: 1, lambda: 2
    assert identity(one, "it") != identity(other, "it")


def test_a_function_may_call_itself() -> None:
    def loop(n: int) -> int:
        return loop(n - 1) if n else 0

    assert identity(loop, "it") == identity(loop, "it")


def forever() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Holder({"x": [threading.Lock()]}), r"it\.state\.held\.x\.0 is a _thread\.lock"),
        ((n for n in range(3)), r"it is a builtins\.generator"),
        (forever(), r"it(\.0)+\.\.\. refers to itself"),
    ],
    ids=["lock", "generator", "endless"],
)
def test_what_has_no_identity_is_refused_by_its_place(value: object, wanted: str) -> None:
    with pytest.raises(UserError, match=wanted) as caught:
        identity(value, "it")
    assert "\n" not in str(caught.value)
