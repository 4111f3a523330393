"""Our greedy loop against `generate`: the same tokens, whatever the decoder and whoever is in the batch."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from transformers import BartConfig, BartForCausalLM, DonutProcessor, VisionEncoderDecoderModel
from transformers.models.mbart.modeling_mbart import MBartAttention

from benchmark.models.donut import Donut, build
from benchmark.models.greedy import greedy, supports
from benchmark.models.processor import build_processor, to_pixels
from benchmark.scales import TINY, Architecture
from benchmark.scoring.predict import decode, transformers_greedy

VOCABULARY, START, LONGEST = 60, 7, 24
NEVER = VOCABULARY - 1
"""An end token that no model here writes."""
ARCHITECTURES = {
    "teacher": TINY.teacher,
    "small": TINY.small,
    "other-width": replace(TINY.small, decoder_width=48, decoder_heads=4),
}


def pixels(documents: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(documents, 3, TINY.height, TINY.width, generator=torch.Generator().manual_seed(seed))


def model_of(architecture: Architecture, vocabulary: int = VOCABULARY) -> Donut:
    """A fresh model made to heed page and position, with a free head: else it repeats one token."""
    model = build(TINY, architecture, vocabulary, seed=0)
    model.train(False)
    torch.manual_seed(1)
    model.decoder.lm_head = nn.Linear(architecture.decoder_width, vocabulary)
    with torch.no_grad():
        model.decoder.lm_head.weight.normal_()
        model.decoder.lm_head.bias[NEVER] = -1e4
        model.decoder.model.decoder.embed_positions.weight.mul_(20)
        if hasattr(model, "enc_to_dec_proj"):
            model.enc_to_dec_proj.weight.normal_()
        for layer in model.decoder.model.decoder.layers:
            layer.encoder_attn.q_proj.weight.mul_(20)
            layer.encoder_attn.out_proj.weight.mul_(20)
            for attention in (layer.self_attn, layer.encoder_attn):
                for part in (attention.q_proj, attention.k_proj, attention.v_proj):
                    part.bias.normal_()
    return model


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> Donut:
    return model_of(ARCHITECTURES[str(request.param)])


@pytest.fixture
def teacher() -> Donut:
    return model_of(TINY.teacher)


def written(model: VisionEncoderDecoderModel, pages: torch.Tensor, end: int) -> list[list[int]]:
    rows: list[list[int]] = greedy(model, pages, START, end, LONGEST).tolist()
    return rows


def expected(model: VisionEncoderDecoderModel, pages: torch.Tensor, end: int) -> list[list[int]]:
    """What `generate` writes up to the end token, and that token up to the full length."""
    rows = transformers_greedy(model, pages, START, end, LONGEST).tolist()
    return [row[: length(row, end)] + [end] * (LONGEST - 1 - length(row, end)) for row in rows]


def length(row: list[int], end: int) -> int:
    return [*row, end].index(end)


def ending_apart(rows: list[list[int]]) -> int:
    """The token that occurs first at the most different places: as the end token it ends documents apart."""
    return max({t for row in rows for t in row}, key=lambda end: len({length(row, end) for row in rows}))


def narrow(attention: MBartAttention, heads: int) -> None:
    """Keep the first heads, as structured pruning does: the model's width stays, the inner width shrinks."""
    inner = heads * attention.head_dim
    for part in (attention.q_proj, attention.k_proj, attention.v_proj):
        part.weight, part.bias = nn.Parameter(part.weight[:inner]), nn.Parameter(part.bias[:inner])
    attention.out_proj.weight = nn.Parameter(attention.out_proj.weight[:, :inner])
    attention.num_heads = heads


def test_it_writes_what_generate_writes_to_the_full_length(model: Donut) -> None:
    pages = pixels(5)
    rows = written(model, pages, NEVER)
    assert rows == expected(model, pages, NEVER)
    assert len({tuple(row) for row in rows}) > 1
    assert all(len(row) == LONGEST - 1 and NEVER not in row for row in rows)


def test_it_writes_what_generate_writes_where_documents_end_apart(model: Donut) -> None:
    pages = pixels(12)
    end = ending_apart(written(model, pages, NEVER))
    rows = written(model, pages, end)
    assert len({length(row, end) for row in rows}) > 2
    assert rows == expected(model, pages, end)


def test_it_stops_when_all_have_ended(teacher: Donut) -> None:
    calls: list[int] = []
    teacher.decoder.lm_head.register_forward_hook(lambda _module, args, _output: calls.append(len(args[0])))
    assert NEVER not in written(teacher, pixels(3), START)[0]
    calls.clear()
    with torch.no_grad():
        teacher.decoder.lm_head.bias[START] = 1e4
    assert written(teacher, pixels(3), START) == [[START] * (LONGEST - 1)] * 3
    assert calls == [3]


def test_documents_that_have_ended_leave_the_batch(teacher: Donut) -> None:
    pages = pixels(12)
    end = ending_apart(written(teacher, pages, NEVER))
    rows: list[int] = []
    teacher.decoder.lm_head.register_forward_hook(lambda _module, args, _output: rows.append(len(args[0])))
    lengths = [length(row, end) for row in written(teacher, pages, end)]
    assert rows[0] == 12
    assert rows[-1] < 12
    assert all(left >= sum(n >= step for n in lengths) for step, left in enumerate(rows))


def test_the_batch_does_not_change_a_document(model: Donut) -> None:
    pages = pixels(12)
    end = ending_apart(written(model, pages, NEVER))
    together = written(model, pages, end)
    assert [written(model, page[None], end)[0] for page in pages] == together
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert written(model, pages[order], end) == [together[i] for i in order]


def test_layers_may_differ_in_heads_and_widths(teacher: Donut) -> None:
    layers = teacher.decoder.model.decoder.layers
    narrow(layers[0].self_attn, 2)
    narrow(layers[1].encoder_attn, 1)
    narrow(layers[2].self_attn, 1)
    layers[3].fc1, layers[3].fc2 = nn.Linear(96, 40), nn.Linear(40, 96)
    assert written(teacher, pixels(4), NEVER) == expected(teacher, pixels(4), NEVER)


def test_a_projection_may_be_any_module(teacher: Donut) -> None:
    first, second, *_ = teacher.decoder.model.decoder.layers
    first.self_attn.q_proj = nn.Sequential(nn.Linear(96, 8, bias=False), nn.Linear(8, 96))
    prune.l1_unstructured(second.self_attn.k_proj, "weight", 0.5)
    with torch.no_grad():
        second.self_attn.k_proj.weight_orig.mul_(3)
    rows = written(teacher, pixels(4), NEVER)
    assert rows == expected(teacher, pixels(4), NEVER)


def decodes(model: Any, processor: DonutProcessor) -> bool:
    """Whether `decode` gives the text of what `generate` writes, and leaves the model in the mode that it was in."""
    pages = torch.randint(0, 256, (5, TINY.height, TINY.width), dtype=torch.uint8)
    training = model.training
    written = decode(model, processor, pages, "<s_receipts-mini>", longest=12, batch=2)
    texts = [text for text, _ in written]
    assert model.training is training
    assert all(texts)
    start = processor.tokenizer.convert_tokens_to_ids("<s_receipts-mini>")
    end = processor.tokenizer.eos_token_id
    model.train(False)
    rows = transformers_greedy(model, to_pixels(processor, pages), start, end, 12).tolist()
    assert [ended for _, ended in written] == [end in row for row in rows]
    return texts == [processor.tokenizer.decode(row[: length(row, end)]) for row in rows]


@pytest.fixture(scope="module")
def processor() -> DonutProcessor:
    (dataset,) = import_module("donutbench_datasets.receipts_mini").donutbench_register_datasets()
    return build_processor(TINY, [dataset])


@pytest.mark.parametrize("training", [True, False])
def test_decode_gives_the_text_and_leaves_the_mode(processor: DonutProcessor, training: bool) -> None:
    model = model_of(TINY.small, len(processor.tokenizer)).train(training)
    assert supports(model)
    assert decodes(model, processor)


def test_other_decoders_are_left_to_generate(processor: DonutProcessor) -> None:
    config = BartConfig(vocab_size=len(processor.tokenizer), d_model=64, decoder_layers=1, decoder_attention_heads=2)
    config.is_decoder = config.add_cross_attention = True
    decoder: Any = BartForCausalLM(config)
    model = VisionEncoderDecoderModel(encoder=model_of(TINY.small).encoder, decoder=decoder)
    assert not supports(model)
    assert decodes(model, processor)
