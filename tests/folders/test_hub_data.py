"""The named public data sets, read from small ones that `datasets` itself has saved in the same columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets as hf
import numpy as np
import pytest
from PIL import Image

from benchmark import UserError, hub_dataset
from benchmark.cli import main
from benchmark.folders.folder import Folder
from benchmark.folders.read import with_folders
from benchmark.models.encoded import encode_documents
from benchmark.plugin.manager import load_plugins
from benchmark.running.setup import set_up
from benchmark.scales import TINY
from benchmark.types import Dataset
from benchmark.zoo.store import open_zoo
from tests.running.runs import config

REVISION = "0123abc"
COLUMNS = hf.Features({"image": hf.Image(), "ground_truth": hf.Value("string")})


def receipt(number: int) -> dict[str, Any]:
    truth = {
        "menu": [{"nm": f"TEA {number}", "price": "1.50"}, {"nm": "BUN", "price": "2"}],
        "total": {"total_price": 3.5},
    }
    image = Image.fromarray(np.full((60, 40, 3), 255 - number, np.uint8))
    return {"image": image, "ground_truth": json.dumps({"gt_parse": truth, "meta": {"version": "2"}, "roi": {}})}


def page(number: int) -> dict[str, Any]:
    image = Image.fromarray(np.full((50, 80), number, np.uint8))
    return {"image": image, "ground_truth": json.dumps({"gt_parse": {"text_sequence": f"page {number}"}})}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, on a machine without a network."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a network call that nobody asked for")

    monkeypatch.setattr("socket.getaddrinfo", refused)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "arrow")
    return tmp_path / "hub"


def download(cache: Path, repository: str, **splits: list[dict[str, Any]]) -> Path:
    """What `hf download` leaves: two files a split."""
    place = cache / f"datasets--{repository.replace('/', '--')}"
    data = place / "snapshots" / REVISION / "data"
    data.mkdir(parents=True)
    for split, rows in splits.items():
        whole = hf.Dataset.from_list(rows, features=COLUMNS)
        for number in range(2):
            whole.shard(2, number, contiguous=True).to_parquet(str(data / f"{split}-{number:05d}-of-00002.parquet"))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(REVISION)
    return data


def registered(name: str) -> Dataset:
    return load_plugins().datasets[name].item


class TestCord:
    @pytest.fixture
    def cord(self, cache: Path) -> Dataset:
        rows = [receipt(number) for number in range(10)]
        download(cache, "naver-clova-ix/cord-v2", train=rows, validation=rows[:3], test=rows[3:7])
        return registered("cord-v2")

    def test_pages_and_ground_truths_are_those_that_were_saved(self, cord: Dataset) -> None:
        documents = cord.open(TINY, "test", 0, None)
        assert len(documents) == 4
        assert [int(np.asarray(document.page)[0, 0, 0]) for document in documents] == [252, 251, 250, 249]
        assert documents[0].ground_truth == {
            "total": {"total_price": "3.5"},
            "menu": [{"price": "1.50", "nm": "TEA 3"}, {"price": "2", "nm": "BUN"}],
        }
        assert list(documents[0].ground_truth) == ["total", "menu"], "Donut's order of keys"
        assert documents[0].source == "naver-clova-ix/cord-v2, test, row 0"

    def test_a_seed_draws_its_own_documents(self, cord: Dataset) -> None:
        drawn = [[document.id for document in cord.open(TINY, "train", seed, 4)] for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_no_more_files_are_opened_than_are_needed(self, cord: Dataset) -> None:
        assert len(cord.open(TINY, "train", 0, 1).table) == 5  # type: ignore[attr-defined]
        assert len(cord.open(TINY, "train", 0, 2).table) == 10  # type: ignore[attr-defined]

    def test_its_tags_are_known_and_it_has_its_place_beside_the_paper(self, cord: Dataset) -> None:
        processor = open_zoo(TINY).processor()
        from benchmark.models.processor import add_tokens

        add_tokens(processor, cord)
        encoded = encode_documents(cord.open(TINY, "test", 0, 2), processor, TINY.max_tokens)
        text = processor.tokenizer.decode([i for i in encoded.labels[0].tolist() if i >= 0])
        assert text.startswith("<s_total><s_total_price>3.5</s_total_price></s_total><s_menu><s_price>1.50</s_price>")
        assert cord.stands_for == "CORD-v2"

    def test_its_version_is_that_of_the_download(self, cord: Dataset, cache: Path, tmp_path: Path) -> None:
        def key() -> str:
            (job,) = set_up(config(tmp_path, datasets=("cord-v2",), strategies=("prune",))).jobs[-1:]
            return job.key

        before = key()
        assert cord.version == REVISION
        (cache / "datasets--naver-clova-ix--cord-v2" / "refs" / "main").write_text("4567def")
        assert key() != before

    def test_a_broken_file_is_named(self, cord: Dataset, cache: Path) -> None:
        for file in cache.rglob("test-*.parquet"):
            file.write_bytes(b"PAR1 and nothing else")
        with pytest.raises(UserError, match=r"data set cord-v2: cannot read .*test-00000"):
            cord.open(TINY, "test", 0, None)


def test_pages_of_synthdog_are_a_reading_task_and_its_test_half_is_said(cache: Path) -> None:
    rows = [page(number % 250) for number in range(500)]
    download(cache, "naver-clova-ix/synthdog-en", train=rows[:6], validation=rows)
    dataset = registered("synthdog-en")
    validation, test = (dataset.open(TINY, split, 0, None) for split in ("validation", "test"))
    assert (dataset.task, len(validation), len(test)) == ("reading", 250, 250)
    assert {d.id for d in validation} & {d.id for d in test} == set()
    assert test[1].ground_truth == {"text_sequence": "page 1"}
    assert any("second half" in note for note in dataset.notes)


def test_any_other_finds_its_own_keys(cache: Path) -> None:
    assert hub_dataset("bills", "someone/bills", "bills").keys == (), "it is not here yet"
    download(cache, "someone/bills", train=[receipt(0), page(1)])
    found = hub_dataset("bills", "someone/bills", "bills")
    assert found.keys == ("menu", "nm", "price", "text_sequence", "total", "total_price")
    assert len(found.open(TINY, "train", 0, None)) == 2


@pytest.mark.parametrize("name", ["cord-v2", "synthdog-en"])
def test_what_was_not_downloaded_says_how(name: str, cache: Path) -> None:
    with pytest.raises(UserError, match=rf"`hf download --repo-type dataset naver-clova-ix/{name}` puts it there"):
        registered(name).open(TINY, "test", 0, None)


def test_all_leaves_out_what_has_to_be_brought_first() -> None:
    registry = load_plugins()
    assert {"cord-v2", "synthdog-en", "parcel-reader"} <= set(registry.datasets)
    assert set(registry.select("dataset", "all")) == {"synthdog-mini", "receipts-mini", "parcels-mini"}
    assert registry.select("dataset", "cord-v2") == ("cord-v2",)


def test_parcel_reader_is_your_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--datasets", "parcel-reader", "--strategies", "teacher", "--output", str(tmp_path / "out")]
    assert main(run) == 1
    assert "parcel-reader is private: --data parcel-reader=DIR" in capsys.readouterr().err
    assert main(["generate", "parcels-mini", str(tmp_path / "labels"), "--documents", "2"]) == 0
    found = with_folders(load_plugins(), [Folder("parcel-reader", tmp_path / "labels")]).datasets["parcel-reader"].item
    assert found.stands_for == "Parcel Reader"
    assert len(found.open(TINY, "train", 0, None)) == 2
