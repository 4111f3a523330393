"""What the report says of the second test split."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd

from benchmark.records.record import Metrics, Record
from benchmark.report.card import model_card
from benchmark.report.leaderboard import leaderboard_frame, leaderboard_markdown
from benchmark.report.shifted import SHIFTED
from benchmark.report.tables import all_records_csv


def shifted(record: Record, ted: float) -> Record:
    scores = Metrics(ted=ted, f1=0.25, ted_cannot_read=0.125)
    return Record.model_validate({**record.model_dump(), "shifted": scores.model_dump(), "shifted_documents": 50})


def test_a_row_has_its_mean_and_its_drop(make_record: Callable[..., Record]) -> None:
    one, two = (make_record("small", "synthdog-mini", seed) for seed in (0, 1))  # ted 0.644 and 0.654
    records = [shifted(one, 0.3), shifted(two, 0.5), make_record("none", "synthdog-mini")]
    frame = leaderboard_frame(records, "synthdog-mini").set_index("strategy")
    small = next(name for name in frame.index if name.startswith("small"))
    none = next(name for name in frame.index if name.startswith("none"))
    assert frame.loc[small, "shifted ted"] == "0.400 ± 0.141"
    assert frame.loc[small, "ted - shifted"] == "0.249 ± 0.134"
    assert frame.loc[none, "shifted ted"] == ""
    text = leaderboard_markdown(records)
    assert f"{SHIFTED} They are 50, others than those of ted; ted of a reader that cannot read: 0.125." in text


def test_older_records_have_no_column(records: list[Record]) -> None:
    assert "shifted" not in leaderboard_markdown(records).lower()


def test_every_record_has_its_scores(make_record: Callable[..., Record]) -> None:
    records = [shifted(make_record("small", "synthdog-mini"), 0.3), make_record("none", "synthdog-mini")]
    table = pd.read_csv(io.StringIO(all_records_csv(records))).set_index("strategy")
    columns = table[["shifted_ted", "shifted_f1", "shifted_documents"]].fillna(-1).to_dict("index")
    assert columns["small"] == {"shifted_ted": 0.3, "shifted_f1": 0.25, "shifted_documents": 50}
    assert columns["none"] == {"shifted_ted": -1, "shifted_f1": -1, "shifted_documents": 0}


def test_a_record_keeps_them(make_record: Callable[..., Record]) -> None:
    record = shifted(make_record("small", "synthdog-mini"), 0.3)
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_the_card_has_the_score(make_record: Callable[..., Record]) -> None:
    record = make_record("small", "synthdog-mini")
    assert f"- N-TED accuracy on 50 shifted documents: 0.300. {SHIFTED}" in model_card(shifted(record, 0.3), None)
    assert "shifted" not in model_card(record, None)
