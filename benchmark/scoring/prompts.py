"""The token that tells a checkpoint what to do: that of a data set, or its own."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from benchmark.errors import UserError
from benchmark.models.checkpoint import Checkpoint
from benchmark.models.vocabulary import tokens_of

_SHOWN = 6


def find_prompt(checkpoint: Checkpoint, dataset: str | None, prompt: str | None = None) -> str:
    """`prompt`, or that of a data set if the checkpoint knows it; else the one that it begins with by itself.

    That is the token that its configuration starts with, the only prompt among its tokens, or, where there is none,
    the token that begins a text, such as ``<s>``. Raises `UserError` for a prompt that is no token, and if the
    checkpoint has several and none is asked for.
    """
    vocabulary: dict[str, int] = checkpoint.processor.tokenizer.get_vocab()
    rows = tokens_of(checkpoint.model)  # others were added to the tokenizer alone, or trimmed
    known = [token for token in prompts_of(vocabulary) if vocabulary[token] in rows]
    if prompt is not None:
        if prompt not in vocabulary:  # for one without a row there are better words where it is read
            raise UserError(f"the prompt {prompt!r} is no token of this checkpoint, which {_list(known)}")
        return prompt
    if f"<s_{dataset}>" in known:
        return f"<s_{dataset}>"
    own = _start(checkpoint) or (known[0] if len(known) == 1 else None)
    if own is None and not known:
        own = checkpoint.processor.tokenizer.bos_token
    if own is None:
        unknown = f"it does not know the prompt <s_{dataset}>, and --prompt TOKEN takes another"
        what = "say with --dataset or --prompt what to read" if dataset is None else unknown
        raise UserError(f"{what}; this checkpoint {_list(known)}")
    return str(own)


def prompts_of(vocabulary: Collection[str]) -> list[str]:
    """The tokens that look like the opening tag of a field, but nothing closes them, in order."""
    opening = sorted(token for token in vocabulary if re.fullmatch(r"<s_[^>]+>", token))
    return [token for token in opening if token.replace("<s_", "</s_") not in vocabulary]


def _start(checkpoint: Checkpoint) -> str | None:
    """The token that its configuration lets it begin with, if it says one."""
    for settings in (checkpoint.model.generation_config, checkpoint.model.config):
        number: Any = getattr(settings, "decoder_start_token_id", None)
        if isinstance(number, int) and 0 <= number < len(checkpoint.processor.tokenizer):
            return str(checkpoint.processor.tokenizer.convert_ids_to_tokens(number))
    return None


def _list(known: Sequence[str]) -> str:
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    names = ", ".join(token[3:-1] for token in known[:_SHOWN]) or "none"
    return f"knows the data sets: {names}{more}"
