"""Models as other people save them: plain `transformers` code, other sizes. They have read nothing.

A Donut with a subword tokenizer, and a BART.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DonutImageProcessorPil,
    DonutProcessor,
    DonutSwinConfig,
    MBartConfig,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)

HEIGHT, WIDTH, POSITIONS = 128, 192, 160
_TEXT = "The Quick Brown Fox pays 12.50 for 3 x COFFEE and 47.90 in TOTAL at 10 ABC ROAD, 20/12/2017"


def foreign_processor(tokens: tuple[str, ...] = ()) -> DonutProcessor:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator([_TEXT] * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    images = DonutImageProcessorPil(size={"height": HEIGHT, "width": WIDTH}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor = DonutProcessor(images, fast)
    if tokens:
        fast.add_tokens(list(tokens), special_tokens=True)
    return processor


def foreign_model(vocabulary: int) -> VisionEncoderDecoderModel:
    torch.manual_seed(0)
    encoder = DonutSwinConfig(
        image_size=[HEIGHT, WIDTH], patch_size=4, embed_dim=16, depths=[1, 2], num_heads=[2, 2], window_size=4
    )
    decoder = MBartConfig(  # type: ignore[call-arg] # as in benchmark.models.donut
        vocab_size=vocabulary,
        d_model=32,
        decoder_layers=4,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        max_position_embeddings=POSITIONS,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = VisionEncoderDecoderModel(cast(VisionEncoderDecoderConfig, config))
    model.train(False)
    return model


def save_foreign(folder: Path, *tokens: str, half: bool = False, **options: Any) -> VisionEncoderDecoderModel:
    """Save one that knows these tokens too; `options` are those of `save_pretrained`. The model as it was saved."""
    processor = foreign_processor(tokens=tokens)
    model = foreign_model(len(processor.tokenizer))
    if half:
        model.half()
    model.save_pretrained(str(folder), **options)
    processor.save_pretrained(str(folder))
    return model


def save_bart(folder: Path, width: int, layers: int, ffn: int, heads: int, positions: int) -> None:
    """Save a BART whose decoder has these sizes; of an encoder it has little."""
    torch.manual_seed(1)
    config = BartConfig(
        vocab_size=30,
        d_model=width,
        encoder_layers=1,
        decoder_layers=layers,
        decoder_ffn_dim=ffn,
        encoder_ffn_dim=64,
        decoder_attention_heads=heads,
        encoder_attention_heads=heads,
        max_position_embeddings=positions,
    )
    BartForConditionalGeneration(config).save_pretrained(str(folder))
