"""Reading pages: our greedy loop against `generate`, and batches against one document at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmark.models.checkpoint import load_checkpoint
from benchmark.models.encoded import encode_documents
from benchmark.models.processor import prompt_of, to_pixels
from benchmark.perf.comparison import Comparison, compare_times
from benchmark.plugin.documents import open_documents
from benchmark.progress import quiet
from benchmark.records.record import Prediction
from benchmark.scales import TINY
from benchmark.scoring.evaluator import predicted
from benchmark.scoring.predict import Written, decode, transformers_greedy
from benchmark.types import Dataset


def compare(receipts: Dataset, teacher: Path, repeats: int, documents: int) -> Iterator[Comparison]:
    loaded = load_checkpoint(teacher)
    model, processor = loaded.model, loaded.processor
    longest, prompt = model.longest, prompt_of(receipts)
    test = encode_documents(open_documents(receipts, TINY, "test", 0, documents), processor, longest)
    start = int(processor.tokenizer.convert_tokens_to_ids(prompt))
    end = int(processor.tokenizer.eos_token_id)

    def written(batch: int = documents) -> list[Written]:
        return decode(model, processor, test.pages, prompt, longest, batch)

    def generated() -> list[Written]:
        with quiet(model):
            rows = transformers_greedy(model, to_pixels(processor, test.pages[:documents]), start, end, longest)
        cut = [(row[: row.index(end)] if end in row else row, end in row) for row in rows.tolist()]
        return [Written(str(processor.tokenizer.decode(row, skip_special_tokens=False)), ended) for row, ended in cut]

    def scored(batch: int) -> list[Prediction]:
        rows = zip(test.ids, written(batch), test.accepted, strict=True)
        return [predicted(processor, *row) for row in rows]

    pages = f"{documents} test pages of {receipts.name}, read by the teacher of the tiny zoo"
    yield from compare_times(
        "batched decoding", pages, {"bare greedy loop": written}, ("generate of transformers", generated), repeats
    )
    yield from compare_times(
        "evaluation",
        pages,
        {f"batches of {documents}": lambda: scored(documents)},
        ("one document at a time", lambda: scored(1)),
        repeats,
    )
