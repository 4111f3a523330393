"""Records that somebody has edited, or that a disk has broken: read, or refused in one line that names the file."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.records.files import read_predictions, read_records
from benchmark.records.record import Record
from benchmark.records.trials import read_trials
from benchmark.report import write_report
from benchmark.types import Json
from tests.fuzz.cases import JSON_VALUES, accepted, cases, listing, nested
from tests.test_results import make_prediction, make_record

DATA = Path(__file__).parents[1] / "data"
OLD = [json.loads(path.read_text()) for path in sorted(DATA.glob("record-v*.json"))]
HEALTHY = make_record(strategy="teacher", reference=True)
RECORD = json.loads(make_record().model_dump_json())
PREDICTION = json.loads(make_prediction().model_dump_json())
TRIAL = {
    "strategy": "prune", "dataset": "receipts-mini", "scale": "tiny", "budget": "quick", "seed": 0, "rate": 0.5,
    "learning_rate": 0.001, "steps": 3, "validation_documents": 2, "validation_ted": 0.5, "key": "k",
}  # fmt: skip
NEARLY: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, -1, 0.0, 1e308, -1e308, 1e-320, 2**63, "", "$x$", "$", "a|b", "<b>", "*", "\n", "paper", [], {}]
).map(deepcopy)
"""Values of the right type, or nearly; each its own, for more may be put into it."""


def places(content: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = (
        content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, whole: Json) -> Json:
    """`whole` with up to three of its values gone, replaced, or joined by others."""
    content = {"": deepcopy(whole)}
    for _ in range(draw(st.integers(0, 3))):
        *above, last = draw(st.sampled_from(places(content)[1:]))
        owner: Any = content
        for step in above:
            owner = owner[step]
        kind = draw(st.sampled_from(["drop", "replace", "replace", "add", "deepen"]))
        if kind == "drop" and above:
            del owner[last]
        elif kind == "deepen":
            owner[last] = nested(owner[last], draw(st.sampled_from([1, 30, 300])), lambda value: [value])
        elif kind == "add" and isinstance(owner[last], dict):
            owner[last][draw(st.sampled_from(["x", "", "ted", "options"]))] = draw(NEARLY)
        else:
            owner[last] = draw(NEARLY | JSON_VALUES)
        if "" not in content:
            break
    return content[""]


@st.composite
def broken(draw: st.DrawFn, text: str) -> bytes:
    """Its bytes, most often all of them."""
    content = text.encode(errors="surrogatepass")
    kind = draw(st.sampled_from(["whole", "whole", "whole", "cut", "other"]))
    place = draw(st.integers(0, len(content)))
    if kind == "whole":
        return content
    return content[:place] + (draw(st.binary(max_size=3)) + content[place + 1 :] if kind == "other" else b"")


def written(content: Json) -> str:
    try:
        return json.dumps(content)
    except ValueError:  # a number of thousands of digits
        return "1" * 5000


def cell_of(content: Json) -> str:
    """Under which name it would be read."""
    try:
        name = Record.model_validate(content).cell
    except (ValidationError, RecursionError):
        return HEALTHY.cell.replace("teacher", "other")
    return name if "/" not in name and "\0" not in name and len(name.encode(errors="replace")) < 240 else "other"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Any:
    """Figures are made and not drawn, which takes seconds."""
    from matplotlib.figure import Figure
    from PIL import Image

    def save(figure: Figure, content: Any, format: str, **_: Any) -> None:
        if format == "png":
            Image.new("L", (1, 1)).save(content, format)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@cases
@given(st.sampled_from([RECORD, *OLD]).flatmap(mutated).flatmap(lambda content: st.tuples(
    st.just(content), broken(written(content)))))  # fmt: skip
def test_any_record_is_read_or_one_line(base: Path, case: tuple[Json, bytes]) -> None:
    content, data = case
    with TemporaryDirectory(dir=base) as folder:
        results = Path(folder) / "results"
        results.mkdir()
        name = cell_of(content)
        try:
            (results / f"{name}.json").write_bytes(data)
        except UnicodeEncodeError:  # no file can have this name
            return
        before = listing(base)
        records = accepted(lambda: read_records(Path(folder)))
        assert listing(base) == before
        for record in records or ():
            assert Record.model_validate_json(record.model_dump_json()) == record
        if records:
            accepted(lambda: write_report(Path(folder)))
            assert {place for place in listing(base) if place.split("/")[0] != Path(folder).name} == set()


@cases
@given(mutated(PREDICTION).map(written).flatmap(broken), mutated([TRIAL, TRIAL]).map(written).flatmap(broken))
@example(b"\xff\xfe", b"[" * 100_000)
@example(b'{"a":' * 5000, b"")
def test_any_predictions_and_trials_are_read_or_one_line(base: Path, line: bytes, trials: bytes) -> None:
    with TemporaryDirectory(dir=base) as name:
        folder = Path(name)
        (folder / "lines.jsonl").write_bytes(line + b"\n" + line)
        (folder / "rates.json").write_bytes(trials)
        accepted(lambda: read_predictions(folder / "lines.jsonl"))
        accepted(lambda: read_trials(folder))
