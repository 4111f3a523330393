"""``costs``: every start once, at any scale, and the page of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmark.cli import main
from benchmark.measure.parameters import count_parameters
from benchmark.models.donut import Donut, configuration
from benchmark.models.parameters import non_embeddings
from benchmark.records.record import Efficiency
from benchmark.records.sizes import Sized, Sizes, read_sizes
from benchmark.report import paper
from benchmark.report.sizes import sizes_markdown, table_1_counts
from benchmark.scales import PAPER, TINY, Architecture
from benchmark.sizing.references import VOCABULARY, Blank
from tests.foreign import HEIGHT, WIDTH, save_foreign

MARKS = "# Mine\n<!-- costs: begin (by a command) -->\nold\n<!-- costs: end -->\nend\n"
BROKEN = """
from benchmark import Strategy, hookimpl

def broken(references, scale, seed):
    raise RuntimeError("no such start")

@hookimpl
def donutbench_register_strategies():
    yield Strategy(name="broken", summary="raises", start=broken)
    yield Strategy(name="leaves", summary="exits", start=lambda references, scale, seed: exit(0))
    yield Strategy(name="forgets", summary="gives nothing", start=lambda references, scale, seed: None)
"""
BYTES = """
from benchmark import Int8, Strategy, hookimpl, reference

@hookimpl
def donutbench_register_strategies():
    yield Strategy("bytes", "the teacher in int8", reference("teacher"), finish=Int8(), protocols=("task",))
"""


def run(*arguments: str) -> int:
    return main(["costs", "--rounds", "1", "--device", "cpu", *arguments])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("costs")
    names = "teacher,none,small,distill,prune,prune-distill,structured-layers"
    assert run("--scale", "tiny", "--strategies", names, "--output", str(folder)) == 0
    return folder


def rows(folder: Path) -> dict[str, Sized]:
    sizes = read_sizes(folder)
    assert sizes is not None
    return {row.strategies[0]: row for row in sizes.rows}


def costs_of(row: Sized) -> Efficiency:
    assert row.efficiency is not None
    return row.efficiency


@pytest.mark.long
class TestCosts:
    def test_a_start_is_applied_once(self, tiny: Path) -> None:
        found = rows(tiny)
        assert found["prune"].strategies == ("prune", "prune-distill")
        assert found["small"].strategies == ("small", "distill")
        assert {name for name, row in found.items() if row.reference} == {"teacher"}

    def test_they_are_of_the_zoo_where_there_is_one(self, tiny: Path) -> None:
        sizes = read_sizes(tiny)
        assert sizes is not None
        assert sizes.weights == "the zoo of scale tiny"
        assert "Weights are those of the zoo of scale tiny." in (tiny / "costs.md").read_text()

    def test_zeros_save_bytes_and_layers_save_work(self, tiny: Path) -> None:
        found = {name: costs_of(row) for name, row in rows(tiny).items()}
        teacher, pruned, shallow = found["teacher"], found["prune"], found["structured-layers"]
        assert pruned.computation == teacher.computation
        assert pruned.macs == teacher.macs
        assert pruned.size_packed_bytes < 0.4 * teacher.size_packed_bytes
        assert shallow.macs is not None
        assert teacher.macs is not None
        assert shallow.macs < teacher.macs

    def test_encoder_and_decoder_make_all_of_it(self, tiny: Path) -> None:
        costs = costs_of(rows(tiny)["teacher"])
        assert costs.macs is not None
        assert costs.macs_encoder is not None
        assert 0 < costs.macs_encoder < costs.macs

    def test_a_scale_without_checkpoints_has_random_weights_and_says_so(self, tmp_path: Path) -> None:
        assert run("--scale", "mini", "--strategies", "teacher,prune", "--output", str(tmp_path)) == 0
        sizes = read_sizes(tmp_path)
        assert sizes is not None
        assert sizes.weights is None
        assert "Weights are random" in (tmp_path / "costs.md").read_text()
        density = costs_of(rows(tmp_path)["prune"]).density
        assert density == pytest.approx(37 / 141, abs=0.01)

    def test_a_given_teacher_is_measured_beside_random_references(self, tmp_path: Path) -> None:
        save_foreign(tmp_path / "My Donut")
        out = tmp_path / "out"
        assert run("--teacher", str(tmp_path / "My Donut"), "--strategies", "teacher,small", "--output", str(out)) == 0
        sizes = read_sizes(out)
        assert sizes is not None
        assert (sizes.weights, sizes.page) == ("My Donut", (HEIGHT, WIDTH))
        assert "Table 1" not in (out / "costs.md").read_text()

    def test_a_model_is_measured_finished(self, tmp_path: Path) -> None:
        (tmp_path / "bytes.py").write_text(BYTES)
        names = ("--scale", "tiny", "--strategies", "teacher,bytes", "--plugin", str(tmp_path / "bytes.py"))
        assert run(*names, "--output", str(tmp_path / "out")) == 0
        found = rows(tmp_path / "out")
        assert found["teacher"].strategies == ("teacher",)
        assert found["bytes"].start == "teacher, int8 linear layers"
        whole, small = costs_of(found["teacher"]), costs_of(found["bytes"])
        assert small.size_dense_bytes < 0.32 * whole.size_dense_bytes
        assert (small.macs, small.params_total) == (whole.macs, whole.params_total)

    def test_a_start_that_fails_costs_its_own_row(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plugin = tmp_path / "broken.py"
        plugin.write_text(BROKEN)
        names = ("--scale", "tiny", "--strategies", "teacher,broken,leaves,forgets", "--plugin", str(plugin))
        assert run(*names, "--output", str(tmp_path / "out")) == 1
        told = capsys.readouterr().err
        assert "donutbench: broken, failed: RuntimeError: no such start" in told
        assert "donutbench: leaves, failed: RuntimeError: SystemExit: 0" in told
        nothing = "TypeError: the start of strategy 'forgets' returned a NoneType, not a Donut"
        assert f"donutbench: forgets, failed: {nothing}" in told
        assert rows(tmp_path / "out")["teacher"].efficiency is not None
        assert "- broken: RuntimeError: no such start" in (tmp_path / "out" / "costs.md").read_text()

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--scale", "papr"], "papr"),
            (["--strategies", "prun"], "prun"),
            (["--scale", "tiny", "--teacher", "nowhere/at-all"], "nowhere/at-all is no folder here"),
            (
                ["--scale", "mini", "--teacher", "nowhere/at-all"],
                "--scale mini: the scale is that of the given teacher",
            ),
        ],
    )
    def test_wrong_names_are_refused(
        self, arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*arguments, "--output", str(tmp_path / "out")) == 2
        told = capsys.readouterr().err
        assert reason in told
        assert told.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_so_is_a_precision_and_no_folder_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("DONUTBENCH_PRECISION", "half")
        assert run("--scale", "tiny", "--strategies", "teacher", "--output", str(tmp_path / "out")) == 2
        assert "DONUTBENCH_PRECISION='half'" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class TestPage:
    def test_report_writes_it_again(self, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = (tiny / "costs.md").read_bytes()
        (tiny / "costs.md").unlink()
        assert main(["report", str(tiny)]) == 0
        assert capsys.readouterr().out == f"see {tiny / 'costs.md'}\n"
        assert (tiny / "costs.md").read_bytes() == before

    def test_a_readme_has_its_own_part(self, tiny: Path, tmp_path: Path) -> None:
        readme = tmp_path / "README.md"
        readme.write_text(MARKS)
        assert main(["report", str(tiny), "--readme", str(readme)]) == 0
        text = readme.read_text()
        assert text.startswith("# Mine\n<!-- costs: begin (by a command) -->\n\nReading one 96x160 page")
        assert text.endswith("<!-- costs: end -->\nend\n")
        assert "| prune, prune-distill" in text
        assert "old" not in text

    def test_a_broken_file_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "costs.json").write_text(json.dumps({"scale": 3}))
        assert main(["report", str(tmp_path)]) == 2
        assert str(tmp_path / "costs.json") in capsys.readouterr().err


class TestTable1:
    """Parameters at the paper's size, without a weight in memory."""

    @pytest.fixture
    def sizes(self) -> Sizes:
        made = []
        for names, paper_name, architecture, kept in (
            (("teacher",), "DONUT-base-11M", PAPER.teacher, 1.0),
            (("small",), "DONUT-small", PAPER.small, 1.0),
            (("prune",), "DONUT-hole", PAPER.teacher, 37 / 141),
        ):
            made.append(_sized(names, paper_name, architecture, kept))
        environment: dict[str, str | int | float] = {"device": "none"}
        return Sizes(
            scale="paper",
            weights=None,
            page=(1280, 960),
            tokens=64,
            device="cpu",
            environment=environment,
            rows=tuple(made),
        )

    def test_it_is_the_paper_s_after_rounding(self, sizes: Sizes) -> None:
        found = [table_1_counts(row) for row in sizes.rows]
        base, small, hole = ([count / 1e6 for count in counts or ()] for counts in found)
        assert [round(count, -1) for count in base] == [140, 60, 200]
        assert [round(count) for count in small] == [37, 29, 66]
        assert [round(hole[0]), round(hole[1], -1), round(hole[2])] == [37, 60, 97]
        text = sizes_markdown(sizes)
        for name, row in paper.PARAMETERS.items():
            (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} "))
            assert f" {row.total} |" in line


@pytest.mark.parametrize(("ratio", "flagged"), [(1.0, True), (0.5, False)])
def test_what_is_sparse_and_not_faster_is_flagged(ratio: float, flagged: bool, tiny: Path) -> None:
    sizes = read_sizes(tiny)
    assert sizes is not None
    timed = {"latency_ratio": ratio, "latency_ratio_low": ratio, "latency_ratio_high": ratio}
    costs = costs_of(rows(tiny)["prune"]).model_copy(update={**timed, "latency_control": 1.0})
    row = rows(tiny)["prune"].model_copy(update={"efficiency": costs})
    assert ("sparse, not faster" in sizes_markdown(sizes.model_copy(update={"rows": (row,)}))) is flagged


def _sized(names: tuple[str, ...], paper_name: str, architecture: Architecture, kept: float) -> Sized:
    with torch.device("meta"):
        model = Donut(configuration(PAPER, architecture, VOCABULARY))
    others = sum(p.numel() for p in non_embeddings(model).values())
    total = sum(p.numel() for p in model.parameters())
    costs = Efficiency(
        params_total=total,
        params_embedding=total - others,
        params_nonembedding=others,
        params_nonzero=round(others * kept),
        density=kept,
        size_dense_bytes=1,
        size_packed_bytes=1,
    )
    table = model.decoder.get_input_embeddings().weight.numel()
    return Sized(strategies=names, paper_names=(paper_name,), start="", token_table=table, efficiency=costs)


@pytest.mark.parametrize(("count", "given"), [(1, 1), (32, 2)])
def test_noise_is_given_in_small_numbers(count: int, given: int) -> None:
    documents = Blank(TINY, 50).calibration(count)
    assert documents.pixel_values.shape == (given, 3, TINY.height, TINY.width)
    assert documents.labels.shape[0] == documents.decoder_input_ids.shape[0] == given


def test_counts_are_those_of_a_model() -> None:
    """What the test above takes for granted."""
    model = Donut(configuration(PAPER, Architecture(16, (1, 1), (1, 1), 1, 16, 16, 1), 20))
    counts = count_parameters(model)
    assert counts.nonembedding == sum(p.numel() for p in non_embeddings(model).values())
    assert counts.total == sum(p.numel() for p in model.parameters())


def test_tokens_of_noise_are_all_that_was_drawn_and_the_first_four() -> None:
    blank = Blank(PAPER, VOCABULARY)
    found = blank.tokens(3)
    assert {0, 1, 2, 3} <= found <= set(range(VOCABULARY))
    assert 40 < len(found) <= 4 + 3 * 16
    assert blank.tokens(3) == found < blank.tokens(30)
