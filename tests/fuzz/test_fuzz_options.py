"""Command lines of any options: an exit code, one line for a wrong use, and nothing beside the output folder."""

from __future__ import annotations

import io
import json
import string
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from benchmark.cli import app, main
from benchmark.errors import UserError
from benchmark.records.files import predictions_path, write_predictions, write_record
from tests.fuzz.cases import cases, listing
from tests.test_results import make_prediction, make_record

# What trains or measures whatever it is given is not among them.
COMMANDS = ("list", "run", "report", "rescore", "compare", "evaluate", "predict", "export", "generate", "rates")
PARAMETERS: dict[str, Any] = {
    name: command.params
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    if name in COMMANDS
}
WRITTEN_TO = ("output", "target", "tensorboard")
"""Options and arguments that name a folder to write to: that of the case, or one that cannot be."""
NOT_ASKED = ("dry_run", "documents", "help")
TARGETS = [
    "../out", "../out/deep/er", "../out/\u00e9 \udc80", "../in/page.png", "../in", "/dev/null/x", f"../out/{'x' * 300}",
]  # fmt: skip
PATHS = [
    "../in", "../in/empty", "../in/page.png", "../in/plugin.py", "../in/nowhere", "../in/bills", "../in/README.md", ".",
    "..", "/dev/null", "bills=../in/bills", "bills=../in", "B=..", "bills=", "=../in",
]  # fmt: skip
WORDS = [
    "", " ", ",", "=", "all", "All", "tiny", "mini", "paper", "task", "quick", "full", "auto", "cpu", "cuda", "local",
    "donut", "file", "fp32", "int8", "prune", "teacher", "teacher,prune", "prune,prune", "small", "receipts-mini",
    "synthdog-mini", "cord-v2", "bills", "mine", "target=0.5", "target=2", "target=x", "target", "target=0.5,0.6",
    "rate=nan", "scope=encoder", "80,10,10", "100,0,0", "0,0,100", "teacher__bills", "\u00e9", "\udc80", "\n", "<s_x>",
    "naver-clova-ix/nowhere", "x" * 300,
]  # fmt: skip
NUMBERS = [
    "0", "1", "2", "-1", "0,1", "1.5", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 30, "9" * 5000, "\u0661", "0x1",
]  # fmt: skip
# No path: whatever a text names would be written to.
TEXTS = st.text(string.ascii_letters + string.digits + " ,=-_%$\u00e9\u2028\U0001f600", max_size=8)
VALUES = st.sampled_from([*PATHS, *WORDS, *NUMBERS]) | TEXTS
PLUGIN = """
from benchmark import Strategy, hookimpl

def start(references, scale, seed):
    return references.load("teacher")

@hookimpl
def donutbench_register_strategies():
    yield Strategy("mine", "a test", start=start)
"""


def fitting(name: str) -> st.SearchStrategy[str]:
    """Values that an option may have, more often than not."""
    if name in WRITTEN_TO:
        return st.sampled_from(TARGETS)
    if name in ("folder", "plugin", "data", "checkpoint", "images", "readme"):
        return st.sampled_from(PATHS)
    if name in (
        "limit",
        "jobs",
        "seed",
        "seeds",
        "rates",
        "grid",
        "batch",
        "max_tokens",
        "accumulate",
        "learning_rate",
    ):
        return st.sampled_from(NUMBERS)
    return st.sampled_from(WORDS)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    command = draw(st.sampled_from(COMMANDS))
    line = [command]
    for parameter in PARAMETERS[command]:
        name = parameter.name
        if parameter.param_type_name == "argument":
            if draw(st.integers(0, 9)):
                line.append(draw(fitting(name) if name in WRITTEN_TO else fitting(name) | fitting(name) | VALUES))
        elif name not in NOT_ASKED and not draw(st.integers(0, 3)):
            line.append(draw(st.sampled_from(parameter.opts)))
            if not parameter.is_flag:
                line.append(draw(fitting(name) if name in WRITTEN_TO else fitting(name) | fitting(name) | VALUES))
    if command == "run":
        line += ["--dry-run"]
        line += draw(st.sampled_from([[], ["--documents", "3"], ["--documents", "x"]]))
    if command == "generate":
        line += draw(st.sampled_from([["--documents", "1"], ["--documents", "1"], ["--documents", "0"], []]))
    if command in ("run", "rates") and "--output" not in line:
        line += ["--output", "../out"]
    rest = st.sampled_from(["--help", "--nothing", "--", "-x", "extra"])
    return line + draw(st.lists(rest, max_size=1)) if not draw(st.integers(0, 5)) else line


@pytest.fixture(scope="module", autouse=True)
def untrained() -> Iterator[None]:
    """What would train says so, and what would draw writes an empty picture."""
    from matplotlib.figure import Figure

    from benchmark.running import rates

    def refuse(*_: object) -> NoReturn:
        raise UserError("this would train")

    def save(figure: Figure, content: Any, format: str, **_: Any) -> None:
        if format == "png":
            Image.new("L", (1, 1)).save(content, format)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        patch.setattr(rates, "_try_all", refuse)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


def fill(place: Path) -> None:
    """A run of two cells, documents, a plugin, a page and a text."""
    for record in (make_record(strategy="teacher", reference=True, test_documents=1), make_record(test_documents=1)):
        write_record(place, record)
        write_predictions(predictions_path(place, record.cell), [make_prediction()])
    (place / "empty").mkdir()
    (place / "plugin.py").write_text(PLUGIN)
    (place / "README.md").write_text("# Results\n")
    Image.new("L", (40, 30)).save(place / "page.png")
    for split in ("train", "validation", "test"):
        folder = place / "bills" / split
        folder.mkdir(parents=True)
        Image.new("L", (40, 30)).save(folder / "0.png")
        line = {"file_name": "0.png", "ground_truth": json.dumps({"gt_parse": {"total": "1"}})}
        (folder / "metadata.jsonl").write_text(json.dumps(line) + "\n")


def beside(root: Path, line: list[str]) -> dict[str, bytes | None]:
    """All that lies there but for what this command may write."""
    own = ["out"]
    if line[0] in ("report", "rescore"):  # they write into the run that they are given, and one of its pages
        own += [
            "in/leaderboard.md",
            "in/paper.md",
            "in/tables",
            "in/figures",
            "in/results",
            "in/README.md",
            "in/costs.md",
        ]
    if line[0] == "rates":
        own += ["in/rates.json"]
    if line[0] in ("generate", "export"):
        own += ["in/empty"]
    found = listing(root)
    ignored = {place for place in found if "__pycache__" in place}
    return {
        place: content
        for place, content in found.items()
        if place not in ignored and not any(place == mine or place.startswith(f"{mine}/") for mine in own)
    }


@cases
@given(command_lines())
@example(["run", "--dry-run", "--teacher", "x" * 300, "--output", "../out"])
@example(["run", "--dry-run", "--learning-rate", "nan", "--scale", "paper", "--output", "../out"])
@example(["run", "--dry-run", "--plugin", "\udc80.py", "--output", "../out"])
@example(["run", "--dry-run", "--data", "bills=" + "x" * 300, "--output", "../out"])
@example(["run", "--dry-run", "--seeds", "9" * 5000, "--output", "../out"])
@example(["run", "--dry-run", "--split", "9" * 5000 + ",0,0", "--data", "bills=../in/bills", "--output", "../out"])
@example(["evaluate", "x" * 300, "--dataset", "receipts-mini"])
@example(["predict", "", "../in/page.png"])
@example(["generate", "receipts-mini", "../out/" + "x" * 300, "--documents", "1"])
@example(["generate", "receipts-mini", "/dev/null/x", "--documents", "1"])
@example(["generate", "receipts-mini", "../out/new", "--documents", "1", "--seed", "9" * 30])
@example(["rates", "--rates", "1e400", "--output", "../out"])
@example(["rates", "--datasets", "receipts-mini", "--strategies", "distill", "--output", "../out"])
@example(["compare", "../in", "teacher", "prune-distill"])
@example(["export", "../in", "teacher", "../out/x", "--packed", "--onnx", "int8"])
@example(["report", "../in", "--readme", "../in"])
@example(["rescore", "../in"])
def test_any_command_line_ends_in_a_code_and_a_line(base: Path, line: list[str]) -> None:
    with TemporaryDirectory(dir=base) as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        fill(root / "in")
        (root / "cwd").mkdir()
        patch.chdir(root / "cwd")
        before = beside(root, line)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            code = main(line)
        err.flush()
        told = err.buffer.getvalue().decode()
        assert code in (0, 1, 2)
        assert "Traceback" not in told
        assert "nobody has foreseen" not in told
        if code == 2:
            complaints = [text for text in told.splitlines() if text.startswith("donutbench: ")]
            assert len(complaints) == 1
            assert told.endswith(f"{complaints[0]}\n")
        assert beside(root, line) == before
