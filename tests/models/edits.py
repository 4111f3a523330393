"""How folders of other people differ from a plain Donut: each edit changes one in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import DonutProcessor, PreTrainedTokenizerFast

from benchmark.models.checkpoint import WEIGHTS, load_processor
from tests.foreign import foreign_processor, save_foreign

Edit = Callable[[Path], object]
Evaluate = Callable[..., tuple[int, str, list[str]]]
RECEIPTS = "receipts-mini"
INDEX = f"{WEIGHTS}.index.json"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = [chr(code) for code in range(33, 127)]
TEXTS = ["Total 12.50 for 3 x Roast Beef", "Subtotal 1,250.00 and tax 10%", "two Lemon Cakes, one Green Tea"]


def of_pieces() -> Tokenizer:
    """As SentencePiece makes it, and Donut has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=180, special_tokens=SPECIAL, unk_token="<unk>", initial_alphabet=LETTERS, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return tokenizer


def of_characters() -> Tokenizer:
    """Single ones, of which a space is another than ours, and many are unknown."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "▁", *LETTERS[:70]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    steps = [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="never"), decoders.Fuse()])
    return tokenizer


def processor_with(tokenizer: Tokenizer, *tokens: str, **options: Any) -> DonutProcessor:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", **options
    )
    fast.add_tokens(list(tokens), special_tokens=True)
    return DonutProcessor(foreign_processor().image_processor, fast)


def tokenizer_of(make: Callable[[], Tokenizer]) -> Edit:
    return lambda folder: processor_with(make()).save_pretrained(str(folder))


def more_tokens(*tokens: str) -> Edit:
    """Added to the tokenizer alone: the table has no rows for them."""
    return lambda folder: foreign_processor(tokens).save_pretrained(str(folder))


def rewritten(name: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return edit


def images(**settings: Any) -> Edit:
    return rewritten("processor_config.json", lambda content: content["image_processor"].update(settings))


def sharded(edit: Edit = lambda folder: None) -> Edit:
    def divide(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        save_foreign(folder, max_shard_size="200KB")
        edit(folder)

    return divide


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def indexed(name: str) -> Edit:
    """The index gives this name to the second file."""

    def change(folder: Path) -> None:
        second = shards(folder)[1]
        second.rename(folder / name)
        index = rewritten(INDEX, lambda content: content.update(weight_map=renamed(content["weight_map"], second.name)))
        index(folder)

    def renamed(weights: dict[str, str], old: str) -> dict[str, str]:
        return {weight: name if file == old else file for weight, file in weights.items()}

    return change


def without_decoder(folder: Path) -> None:
    kept = {name: value for name, value in load_file(folder / WEIGHTS).items() if not name.startswith("decoder.")}
    save_file(kept, folder / WEIGHTS, {"format": "pt"})


def as_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def begins_with(token: str) -> Edit:
    def change(folder: Path) -> None:
        number = load_processor(folder).tokenizer.convert_tokens_to_ids(token)
        rewritten("generation_config.json", lambda content: content.update(decoder_start_token_id=number))(folder)

    return change
