"""Who is ranked against whom, what is said of the others, and what of seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmark.metrics.paired import Floats
from benchmark.records.record import Record
from benchmark.report import leaderboard_frame
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.report.ranking import rankings

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]


def rows(make_record: Make, documents: dict[str, int]) -> list[Record]:
    """Two seeds of each strategy on receipts, with the documents that it trained on; a name that is new is a copy."""
    made = [
        make_record(name if name in ("prune", "small") else "none", "receipts-mini", seed, documents=count)
        .model_copy(update={"strategy": name, "model_hash": f"{name} {seed if count else ''}"})
        for name, count in documents.items()
        for seed in (0, 1)
    ]  # fmt: skip
    return [*made, *(make_record("teacher", "receipts-mini", seed) for seed in (0, 1))]


def lines(records: list[Record]) -> dict[str, str]:
    """strategy -> rank, in the order of the leaderboard."""
    frame = leaderboard_frame(records, "receipts-mini")
    return dict(zip(frame["strategy"], frame.get("rank", [""] * len(frame)), strict=True))


def test_of_three_groups_the_largest_is_ranked(make_record: Make) -> None:
    found = rows(make_record, {"x": 25_280, "small": 25_280, "y": 1280, "prune": 0})
    assert lines(found) == {
        "teacher (reference)": "",
        "x": "1",
        "small": "2",
        "y (other documents)": "",
        "prune (other documents)": "",
    }
    text = leaderboard_markdown(found)
    why = "Not ranked, for the rows above trained on 25,280 documents: y on 1,280; prune on 0 (nothing is trained)."
    assert text.count(f"\n\n{why}\n") == 1
    assert text.index("| prune (other documents)") < text.index(why)


def test_of_groups_of_one_size_the_one_with_more_documents_is_ranked(make_record: Make) -> None:
    found = rows(make_record, {"x": 1280, "y": 1280, "small": 2560, "z": 2560})
    assert list(lines(found))[1:] == ["z", "small", "x (other documents)", "y (other documents)"]
    assert "the rows above trained on 2,560 documents: x and y on 1,280." in leaderboard_markdown(found)


def test_a_stranger_that_trained_on_less_stands_below_however_good(make_record: Make) -> None:
    found = rows(make_record, {"small": 25_280, "prune": 25_280, "stranger": 2560})
    assert lines(found) == {"teacher (reference)": "", "small": "1", "prune": "2", "stranger (other documents)": ""}
    assert "trained on 25,280 documents: stranger on 2,560." in leaderboard_markdown(found)


def test_what_the_start_had_seen_does_not_decide(make_record: Make) -> None:
    found = [
        record.model_copy(update={"start_documents": 99}) if record.strategy == "small" else record
        for record in rows(make_record, {"x": 1280, "small": 1280})
    ]
    assert list(lines(found).values()) == ["", "1", "2"]
    assert "Not ranked" not in leaderboard_markdown(found)


def test_one_shot_rows_are_ranked_with_each_other(make_record: Make) -> None:
    one_shot = [
        r.model_copy(update={"objective": None}) for r in rows(make_record, {"x": 0, "prune": 0, "small": 1280})
    ]
    assert lines(one_shot) == {"teacher (reference)": "", "x": "1", "prune": "2", "small (other documents)": ""}


def test_seeds_that_lack_below_the_line_take_no_ranks(make_record: Make) -> None:
    found = rows(make_record, {"x": 1280, "small": 1280, "y": 640})
    below = [r for r in found if (r.strategy, r.seed) != ("y", 1)]
    assert list(lines(below).values()) == ["", "1", "2", ""]
    above = [r for r in found if (r.strategy, r.seed) != ("x", 1)]
    assert set(lines(above).values()) == {""}, "there is no first of one"
    assert "of x there is only one checkpoint." in leaderboard_markdown(above)
    assert list(lines(above))[-1] == "y (other documents)"


def test_what_failed_or_is_the_teacher_counts_for_no_group(make_record: Make, failed: Fail) -> None:
    found = rows(make_record, {"small": 1280, "a": 640, "b": 640, "c": 640})
    teacher = next(record for record in found if record.reference)
    same = {"model_hash": teacher.model_hash}
    found = [r.model_copy(update=same) if r.strategy == "a" else r for r in found]
    found = [failed(r, "boom") if r.strategy in "bc" else r for r in found]
    assert list(lines(found).items())[1:] == [("a (= teacher)", ""), ("small", "1"), ("b", ""), ("c", "")]


def test_every_row_is_in_one_group(seeded: list[Record]) -> None:
    for ranking in rankings(seeded).values():
        assert len({row.strategy for row in ranking.rows}) == len(ranking.rows) == 9
        assert set(ranking.ranks) == {row.strategy for row in ranking.competing}


class TestSeeds:
    order = "the training documents of receipts-mini and their order"
    upstream = "the upstream model, which is the zoo's one"

    def said(self, records: list[Record]) -> str:
        return next((line for line in leaderboard_markdown(records).splitlines() if "nother seed ch" in line), "")

    def test_what_is_kept_upstream_is_not_in_the_spread(self, make_record: Make) -> None:
        words = {"seed_changes": [self.order], "seed_keeps": [self.upstream, "the teacher"]}
        found = [make_record(name, "receipts-mini", seed, **words) for name in ("small", "none") for seed in (0, 1)]
        assert self.said(found) == (
            f"Another seed changes {self.order}; it keeps {self.upstream} and the teacher, so the spread is that of "
            "the task alone."
        )
        anew = [self.order, self.order.replace("receipts", "synthdog")]
        stranger = [make_record("distill", "receipts-mini", seed, seed_changes=anew) for seed in (0, 1)]
        assert "so the spread" not in self.said([*found, *stranger]), "it has read other documents upstream"
        task = [record.model_copy(update={"protocol": "task"}) for record in found]
        assert self.said(task).endswith("and the teacher.")
        reading = make_record("small", "synthdog-mini", seed_keeps=[self.upstream])
        assert self.said([reading]) == f"Another seed changes nothing; it keeps {self.upstream}."

    def test_what_is_not_true_of_all_rows_has_their_names(self, make_record: Make) -> None:
        found = [
            make_record("small", "receipts-mini", seed_changes=[self.order, "the weights it starts from"]),
            make_record("none", "receipts-mini", seed_changes=[self.order]),
            make_record("distill", "receipts-mini", seed_changes=[self.order]),
            make_record("prune", "receipts-mini", seed_keeps=["the model"]),
            make_record("teacher", "receipts-mini", seed_keeps=["all of it"]),
        ]
        assert self.said(found) == (
            f"Another seed changes {self.order} (not of prune) and the weights it starts from (of small); it keeps the "
            "model (of prune)."
        )

    def test_records_that_do_not_say_are_not_spoken_for(self, records: list[Record]) -> None:
        assert self.said(records) == ""


@pytest.mark.parametrize(("documents", "told"), [(1, "1 test document allows"), (29, "29 test documents allow")])
def test_too_few_test_documents_allow_no_ranking(documents: int, told: str, make_record: Make) -> None:
    found = [r.model_copy(update={"test_documents": documents}) for r in rows(make_record, {"x": 1280, "small": 1280})]
    assert set(lines(found).values()) == {""}
    why = f"No ranks: {told} no ranking, which takes at least 30."
    text = leaderboard_markdown(found)
    assert text.count(f"\n{why}\n") == 1
    assert text.index(why) < text.index("| strategy")


def test_thirty_are_enough(make_record: Make) -> None:
    found = [r.model_copy(update={"test_documents": 30}) for r in rows(make_record, {"x": 1280, "small": 1280})]
    assert [rank for rank in lines(found).values() if rank] == ["1", "2"]
    assert "allow no ranking" not in leaderboard_markdown(found)


def read(records: list[Record], gains: dict[str, Floats]) -> dict[str, dict[str, float]]:
    """The same 100 documents, some far harder than others, each of which a row reads better by so much."""
    hard = np.random.default_rng(0).random(100) / 2
    names = [f"doc{number:02d}" for number in range(100)]
    scores = {record.cell: (hard + gains.get(record.strategy, 0)).tolist() for record in records}
    return {cell: dict(zip(names, own, strict=True)) for cell, own in scores.items()}


def scored(records: list[Record], teds: dict[str, dict[str, float]]) -> list[Record]:
    means = {cell: sum(scores.values()) / len(scores) for cell, scores in teds.items()}
    return [
        record.model_copy(update={"metrics": record.metrics.model_copy(update={"ted": means[record.cell]})})
        for record in records
        if record.metrics
    ]


class TestDecisiveRanks:
    def test_rows_that_are_not_told_apart_share_a_rank(self, make_record: Make) -> None:
        found = rows(make_record, {"x": 1280, "y": 1280, "z": 1280})
        apart = np.random.default_rng(1).normal(-0.001, 0.05, 100)
        teds = read(found, {"x": np.full(100, 0.2), "y": 0.2 + apart})
        ((_, ranking),) = rankings(scored(found, teds), teds).items()
        assert sorted(ranking.ranks.items()) == [("x", "1"), ("y", "1"), ("z", "3")]
        assert "share rank 1; 1 of 3 pairs are not told apart." in ranking.undecided
        assert ranking.detectable == pytest.approx(0.05 / 10 * 2.8, rel=0.2)

    def test_where_each_is_told_apart_the_ranking_is_decisive(self, make_record: Make) -> None:
        found = rows(make_record, {"x": 1280, "y": 1280, "z": 1280})
        teds = read(found, {"x": np.full(100, 0.2), "y": np.resize([0.0, 0.2], 100)})
        ((_, ranking),) = rankings(scored(found, teds), teds).items()
        assert ranking.ranks == {"x": "1", "y": "2", "z": "3"}
        assert ranking.undecided == "The ranking is decisive: each row is told apart from each other one."

    def test_without_documents_ranks_are_by_the_score_and_say_so(self, make_record: Make) -> None:
        found = rows(make_record, {"x": 1280, "small": 1280})
        ((_, ranking),) = rankings(found).items()
        assert ranking.ranks == {"x": "1", "small": "2"}
        assert ranking.undecided.startswith("Ranks are by the scores alone")
        assert ranking.detectable is None
