"""Plugins by entry point and by file, and every way in which one can be broken."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import UserError
from benchmark.plugin.hookspecs import donutbench_register_datasets, donutbench_register_strategies
from benchmark.plugin.manager import HOOKS, Registry, check_known, load_plugins

STRATEGY = """
from benchmark import Strategy, hookimpl

def start(references, scale, seed):
    return references.load("teacher")

@hookimpl
def donutbench_register_strategies():
    yield Strategy(name="{name}", summary="a test", start=start)
"""

Install = Callable[[str, str], str]


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the text of a plugin to a file."""
    numbers = itertools.count()

    def write(text: str) -> Path:
        path = tmp_path / f"plugin{next(numbers)}.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Install:
    """Installs a package of one module, as pip would: metadata with an entry point, and the module."""
    monkeypatch.syspath_prepend(tmp_path)
    unique = re.sub(r"\W", "_", request.node.name)

    def write(distribution: str, text: str) -> str:
        module = f"{distribution}_{unique}"
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[donutbench]\nmine = {module}\n")
        return module

    return write


def failure(*files: Path) -> str:
    """The one line that loading ends with."""
    with pytest.raises(UserError) as caught:
        load_plugins(files)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_installed_package_and_a_file_register_side_by_side(install: Install, plugin: Callable[[str], Path]) -> None:
    module = install("acme_donut", STRATEGY.format(name="zz-installed"))
    path = plugin(STRATEGY.format(name="aa-file"))
    registry = load_plugins([path])
    assert registry.strategies["zz-installed"].source == f"acme_donut 1.2 ({module})"
    assert registry.strategies["aa-file"].source == str(path)
    assert list(registry.strategies) == sorted(registry.strategies)


def test_nothing_stays_registered_for_the_next_call(plugin: Callable[[str], Path]) -> None:
    path = plugin(STRATEGY.format(name="passing"))
    assert "passing" in load_plugins([path]).strategies
    assert "passing" not in load_plugins().strategies
    assert "passing" in load_plugins([path]).strategies


@pytest.mark.parametrize("hook", [donutbench_register_strategies, donutbench_register_datasets])
def test_the_example_of_each_hook_is_a_plugin(hook: Callable[[], object], plugin: Callable[[str], Path]) -> None:
    example = str(hook.__doc__).partition("::\n")[2]
    if "reference(" in example:
        pytest.importorskip("benchmark.parts.starts", reason="the parts are not there")
    text = "\n".join(line[8:] for line in example.splitlines())
    registry = load_plugins([plugin(text)])
    assert "distill-warm" in registry.strategies or "blank" in registry.datasets


def test_the_hooks_are_those_of_the_specification() -> None:
    assert sorted(HOOKS) == [donutbench_register_datasets.__name__, donutbench_register_strategies.__name__]


def test_duplicate_names_name_both_sources(plugin: Callable[[str], Path]) -> None:
    first, second = plugin(STRATEGY.format(name="twin")), plugin(STRATEGY.format(name="twin"))
    message = failure(first, second)
    assert "'twin'" in message
    assert str(first) in message
    assert str(second) in message


def test_the_same_file_twice_is_told(plugin: Callable[[str], Path]) -> None:
    path = plugin(STRATEGY.format(name="twin"))
    assert failure(path, path) == f"plugin {path} is registered twice"


def test_files_of_equal_name_do_not_clash(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(STRATEGY.format(name=name))
    registry = load_plugins([tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"])
    assert {"one", "two"} <= set(registry.strategies)


def test_a_failing_entry_point_is_named_with_its_package(install: Install) -> None:
    module = install("acme_donut", "import json\nimport no_such_module\n")
    message = failure()
    assert f"acme_donut 1.2 ({module})" in message
    assert "'mine'" in message
    assert "ModuleNotFoundError: No module named 'no_such_module'" in message
    assert f"{module}.py, line 2" in message


@pytest.mark.parametrize("name", ["donutbench_register_strategy", "donutbench_register_stategies"])
@pytest.mark.parametrize("mark", ["@hookimpl\n", ""])
def test_a_misspelt_hook_is_named_with_the_nearest(name: str, mark: str, plugin: Callable[[str], Path]) -> None:
    path = plugin(f"from benchmark import hookimpl\n\n{mark}def {name}():\n    return []\n")
    message = failure(path)
    assert str(path) in message
    assert f"'{name}'" in message
    assert "did you mean donutbench_register_strategies" in message


def test_a_marked_function_of_another_name_is_told(plugin: Callable[[str], Path]) -> None:
    path = plugin("from benchmark import hookimpl\n\n@hookimpl\ndef register_strategies():\n    return []\n")
    message = failure(path)
    assert str(path) in message
    assert "unknown hook 'register_strategies'" in message


def test_a_hook_without_its_mark_is_told(plugin: Callable[[str], Path]) -> None:
    path = plugin(STRATEGY.format(name="unmarked").replace("@hookimpl\n", ""))
    assert failure(path) == f"plugin {path}: donutbench_register_strategies lacks @hookimpl"


def test_a_hook_with_arguments_is_told(plugin: Callable[[str], Path]) -> None:
    path = plugin(STRATEGY.format(name="greedy").replace("strategies():", "strategies(config):"))
    message = failure(path)
    assert str(path) in message
    assert "config" in message


HOOK = "from benchmark import hookimpl\n\n@hookimpl\ndef donutbench_register_datasets():\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("raise RuntimeError('at import')\n", "fails to load: RuntimeError: at import (plugin0.py, line 1)"),
        ("def f(:\n", "fails to load: SyntaxError"),
        (HOOK + "    return [1 / 0]\n", "donutbench_register_datasets fails: ZeroDivisionError"),
        (HOOK + "    return None\n", "donutbench_register_datasets fails: TypeError"),
        (HOOK + "    yield 'cord'\n", "donutbench_register_datasets yields 'cord', which is not a Dataset"),
        (HOOK + "    yield 7\n", "donutbench_register_datasets yields 7, which is not a Dataset"),
        (HOOK + "    return 7\n", "donutbench_register_datasets fails: TypeError: 'int' object is not iterable"),
        (
            HOOK + "    class Shy:\n        def __repr__(self): raise RuntimeError\n    yield Shy()\n",
            "donutbench_register_datasets yields a Shy, which is not a Dataset",
        ),
        (HOOK + "    raise OSError('\\udc80')\n", r"donutbench_register_datasets fails: OSError: \udc80 (plugin0.py"),
        (HOOK + "    return []\n", "registers no strategy and no data set"),
        ("x = 1\n", "registers no strategy and no data set"),
        (STRATEGY.format(name="Not A Name"), "'Not A Name' must be lower-case"),
    ],
)
def test_a_broken_file_is_named(text: str, wanted: str, plugin: Callable[[str], Path]) -> None:
    path = plugin(text)
    message = failure(path)
    assert message.startswith(f"plugin {path}")
    assert wanted in message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import sys\nsys.exit(0)\n", "fails to load: SystemExit: 0 (plugin0.py, line 2)"),
        (HOOK + "    raise SystemExit\n", "donutbench_register_datasets fails: SystemExit"),
        ("class Odd(BaseException): pass\nraise Odd('why')\n", "fails to load: Odd: why"),
    ],
)
def test_a_plugin_that_leaves_does_not_take_the_command_with_it(
    text: str, wanted: str, plugin: Callable[[str], Path]
) -> None:
    path = plugin(text)
    assert failure(path).startswith(f"plugin {path}")
    assert wanted in failure(path)


def test_an_installed_plugin_that_leaves_is_named_too(install: Install) -> None:
    install("acme_leaves", "raise SystemExit(0)\n")
    assert "acme_leaves 1.2" in failure()
    assert "fails to load: SystemExit: 0" in failure()


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("summary=None", "its summary is None, not text"),
        (r"summary='\ud800'", r"its summary is '\ud800', not text"),
        ("paper=7", "its paper is 7, not text"),
        ("start=3", "its start is 3, not what can be called"),
        ("objective=print", "its objective is <built-in function print>, not what can be called and says its teaching"),
        ("objective=Shy()", "its objective is a Shy, not what can be called"),
        ("objective=loss, constraint=5", "its constraint is 5, not what has an attach"),
        ("protocols='task'", "has the protocols 'task'"),
        ("reference='yes'", "its reference is 'yes', not True or False"),
        ("rate='fast'", "donutbench_register_strategies fails: TypeError"),
        ("rate=True", "its rate is True, not a number"),
        ("finish=5", "its finish is 5, not what can be called, or None"),
        ("name=None", "strategy name None must be"),
        ("name=7", "its name is 7, not text"),
    ],
)
def test_a_wrong_field_of_a_strategy_is_named(field: str, wanted: str, plugin: Callable[[str], Path]) -> None:
    path = plugin(
        f"""
from benchmark import Strategy, hookimpl

class Shy:
    def __call__(self): pass
    def __repr__(self): raise RuntimeError
    @property
    def teaching(self): raise RuntimeError

def loss(student, teacher, labels): pass
loss.teaching = "none"

@hookimpl
def donutbench_register_strategies():
    whole = dict(name="mine", summary="mine", start=loss)
    yield Strategy(**{{**whole, **dict({field})}})
"""
    )
    message = failure(path)
    assert message.startswith(f"plugin {path}")
    assert wanted in message


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("task='ocr'", "its task is 'ocr', not reading or extraction"),
        ("keys=(1, 2)", "keys"),
        ("keys='total'", "its keys is 'total', not a tuple of texts"),
        ("open=None", "its open is None, not what can be called"),
        ("version=2", "its version is 2, not text"),
        ("notes=['a']", "its notes is ['a'], not a tuple of texts"),
        ("options={'split': 1}", "its options is {'split': 1}, not a tuple of pairs of texts"),
        ("options=(('split', 1),)", "its options is (('split', 1),), not a tuple of pairs of texts"),
    ],
)
def test_a_wrong_field_of_a_data_set_is_named(field: str, wanted: str, plugin: Callable[[str], Path]) -> None:
    whole = "dict(name='mine', summary='mine', task='extraction', keys=('total',), open=print)"
    path = plugin(f"from benchmark import Dataset\n{HOOK}    yield Dataset(**{{**{whole}, **dict({field})}})\n")
    message = failure(path)
    assert message.startswith(f"plugin {path}")
    assert wanted in message


def test_what_a_plugin_prints_is_no_output(plugin: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    load_plugins([plugin("print('at import')\n" + STRATEGY.format(name="loud") + "    print('in a hook')\n")])
    out, err = capsys.readouterr()
    assert out == ""
    assert "at import" in err
    assert "in a hook" in err


def test_a_broken_file_leaves_no_module_behind(plugin: Callable[[str], Path]) -> None:
    before = set(sys.modules)
    failure(plugin("raise RuntimeError\n"))
    assert not {name for name in set(sys.modules) - before if name.startswith("donutbench_plugin_")}


@pytest.mark.parametrize("name", ["missing.py", "folder.py", "notes.txt"])
def test_what_is_no_python_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    path = tmp_path / name
    assert failure(path) == f"plugin {path}: no such Python file"


class TestSelect:
    @pytest.fixture
    def registry(self, plugin: Callable[[str], Path]) -> Registry:
        found = load_plugins([plugin(STRATEGY.format(name=name)) for name in ("ours-b", "ours-a", "other")])
        ours = {name: found.strategies[name] for name in ("other", "ours-a", "ours-b")}
        return Registry(strategies=ours, datasets={})

    def test_all_is_every_name_sorted(self, registry: Registry) -> None:
        assert registry.select("strategy", "all") == ("other", "ours-a", "ours-b")

    def test_names_keep_their_order_and_count_once(self, registry: Registry) -> None:
        assert registry.select("strategy", "ours-b, other,ours-b") == ("ours-b", "other")

    def test_an_unknown_name_lists_the_nearest(self, registry: Registry) -> None:
        with pytest.raises(UserError, match=r"unknown strategy 'ours-aa': did you mean ours-a or ours-b\?"):
            registry.select("strategy", "other,ours-aa")

    def test_all_of_nothing_is_an_error(self, registry: Registry) -> None:
        with pytest.raises(UserError, match="no dataset is registered"):
            registry.select("dataset", "all")


def test_a_name_near_nothing_lists_everything() -> None:
    with pytest.raises(UserError, match=r"^unknown scale 'xyz': there is mini, tiny$"):
        check_known("scale", "xyz", ["tiny", "mini"])
