"""The summary in a README is what the records give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.report import embed_summary
from benchmark.report.readme import summary_markdown
from benchmark.results import Record, write_record

PAGE = "# title\n<!-- leaderboard: begin (how) -->\nold\n<!-- leaderboard: end -->\nrest\n"


def test_only_what_stands_between_the_marks_changes(records: Sequence[Record], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path, record)
    readme = tmp_path / "README.md"
    readme.write_text(PAGE)
    embed_summary(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("# title\n<!-- leaderboard: begin (how) -->\n\n")
    assert text.endswith("\n\n<!-- leaderboard: end -->\nrest\n")
    assert "old" not in text
    assert summary_markdown(records, tmp_path.as_posix()) in text
    embed_summary(readme, tmp_path)
    assert readme.read_text() == text


def test_every_finished_strategy_has_its_row_and_score(records: Sequence[Record]) -> None:
    done = [record for record in records if record.metrics]
    rows = {line.split("|")[1].strip(): line for line in summary_markdown(done, "x").splitlines() if "|" in line}
    for record in done:
        assert record.metrics is not None
        if sum(r.strategy == record.strategy and r.dataset == record.dataset for r in done) == 1:
            assert f"{record.metrics.ted:.3f}" in rows[record.strategy]


def test_a_readme_without_marks_is_named(records: Sequence[Record], tmp_path: Path) -> None:
    write_record(tmp_path, records[0])
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(UserError, match=r"README\.md lacks"):
        embed_summary(tmp_path / "README.md", tmp_path)
