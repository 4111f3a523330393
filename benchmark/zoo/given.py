"""A checkpoint that the user brings as the teacher (``run --teacher``), in the place of a zoo."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.models.hub import find_checkpoint
from benchmark.scales import FINE_TUNING, LONG_FINE_TUNING, TINY, Architecture, Changes, Scale
from benchmark.types import Dataset, Json
from benchmark.zoo.store import Zoo, content_hash

if TYPE_CHECKING:
    from transformers import DonutProcessor

    from benchmark.models.donut import Donut

_MODEL = ("*.safetensors", "*.safetensors.index.json", "config.json")
_PROCESSOR = ("*tokenizer*.json", "*processor*.json", "special_tokens_map.json", "added_tokens.json", "*.model")
_LONGEST = 40


@dataclass(frozen=True)
class GivenTeacher(Zoo):
    """One model: the teacher of every task that it knows, and what the teachers of others are fine-tuned from.

    `content` is a hash of it.
    """

    content: str

    @property
    def given(self) -> str:
        return _title(self.folder)

    def fingerprint(self, strategy: str, dataset: str) -> str:
        return self.content

    def processor(self) -> DonutProcessor:
        from benchmark.models.checkpoint import load_processor

        return load_processor(self.folder)

    def brings(self, name: str) -> bool:
        return name == "teacher"

    def load(self, name: str) -> Donut:
        if not self.brings(name):
            raise UserError(f"the given teacher brings no reference model {name!r}")
        from benchmark.models.checkpoint import load_model

        return load_model(self.folder)

    def task_teacher(self, dataset: Dataset) -> Path | None:
        """It is its own teacher if it knows the prompt of a data set and all of its tags."""
        knows = dataset.name == self.scale.reading or not self._unknown(dataset)
        return self.folder if knows else None

    def remark(self, dataset: Dataset) -> str | None:
        unknown = self._unknown(dataset)
        if not unknown:
            return None
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        tokens = f"{', '.join(unknown[:3])}{more}"
        return f"{self.given} does not know {tokens}: it is fine-tuned on {dataset.name} first"

    def _unknown(self, dataset: Dataset) -> list[str]:
        from benchmark.models.processor import needed_tokens

        return [token for token in needed_tokens(dataset) if token not in self._vocabulary]

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        """What it has rows for: tokens beyond its table were added to its tokenizer alone."""
        from benchmark.models.checkpoint import load_config

        decoder: Any = load_config(self.folder).decoder
        vocabulary = self.processor().tokenizer.get_vocab().items()
        return frozenset(token for token, number in vocabulary if number < decoder.vocab_size)

    def documents(self, folder: Path) -> int:
        """What it has read before is not known, and is the same for every row."""
        return 0

    def upstream_recipe(self, strategy: str, parts: Json) -> dict[str, Any] | None:
        return None


def open_teacher(name: str, changes: Changes) -> GivenTeacher:
    """The given teacher, and with it the scale. `UserError` if it is no Donut that can be trained, or is too small."""
    from benchmark.models.checkpoint import check_weights, load_config, load_processor
    from benchmark.models.requirements import check_pages

    folder = find_checkpoint(name)
    check_weights(folder)
    config = load_config(folder)
    for field, what in (("int8", "int8 layers"), ("runtime", "a runtime of its own")):
        if getattr(config, field, None):
            raise UserError(f"{_title(folder)} has {what}, which nothing trains or compresses: give it before that")
    check_pages(folder, config, load_processor(folder))
    content = content_of(folder)
    return GivenTeacher(folder, scale_of(folder, content, changes), content)


def scale_of(folder: Path, content: str, changes: Changes) -> Scale:
    """Pages as its processor makes them, as many tokens as it has positions, and the budget of Donut's fine-tuning.

    Raises `UserError` for one that was trimmed to one corpus, or whose decoder does not read all of the page.
    """
    from benchmark.models.checkpoint import load_config

    config: Any = load_config(folder)
    encoder, decoder = config.encoder, config.decoder
    if getattr(config, "kept_tokens", None) or getattr(encoder, "selection", None):
        raise UserError(f"{_title(folder)} has only some of its tokens or cells left, and a teacher needs them all")
    height, width = _page_of(folder)
    tokens = changes.max_tokens or decoder.max_position_embeddings
    if tokens > decoder.max_position_embeddings:
        raise UserError(f"--max-tokens {tokens}: {_title(folder)} has {decoder.max_position_embeddings} positions")
    architecture = Architecture(
        encoder.embed_dim,
        tuple(encoder.depths),
        tuple(encoder.num_heads),
        decoder.decoder_layers,
        decoder.d_model,
        decoder.decoder_ffn_dim,
        decoder.decoder_attention_heads,
    )
    return replace(
        TINY,
        name=f"own-{_slug(folder)}-{content[:6]}{changes}",
        summary=f"that of {_title(folder)}",
        height=height,
        width=width,
        patch=encoder.patch_size,
        window=encoder.window_size,
        max_tokens=tokens,
        initial_std=decoder.init_std,
        bridge="rows" in (getattr(encoder, "bridge", None) or {}),
        teacher=architecture,
        quick=changes.of(FINE_TUNING),
        full=changes.of(LONG_FINE_TUNING),
        task_teacher=changes.of(LONG_FINE_TUNING),
    )


def _page_of(folder: Path) -> tuple[int, int]:
    """Height and width of its pages, as its processor makes them."""
    from benchmark.models.checkpoint import load_processor

    size = load_processor(folder).image_processor.size
    return size["height"], size["width"]


def content_of(folder: Path) -> str:
    """A hash of what makes a checkpoint: its weights, config and processor, and nothing else in its folder."""
    from benchmark.models.checkpoint import place_of_processor

    parts = ((folder, _MODEL), (place_of_processor(folder), _PROCESSOR))
    hashes = [content_hash(place, (p for name in names for p in place.glob(name))) for place, names in parts]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _title(folder: Path) -> str:
    """The name of a folder, or the id of a hub's model, which lies in models--OWNER--NAME/snapshots/REVISION."""
    repository = folder.parent.parent.name
    hub = folder.parent.name == "snapshots" and repository.startswith("models--")
    return repository.removeprefix("models--").replace("--", "/") if hub else folder.resolve().name


def _slug(folder: Path) -> str:
    """Its name as letters of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", _title(folder).lower())[:_LONGEST].strip("-") or "teacher"
