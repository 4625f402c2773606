"""How many tokens a text has, before any tokenizer is at hand.

A text has no more tokens than bytes, and no fewer than the pieces that the tokenizer cuts it
into before it merges anything.  Qwen2's cuts at every border of a run of letters and takes
each digit for itself, so what is counted here is never above the true number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Final

from jobs.errors import BadSettings, InvalidRequest

#: Tokens that a model's text encoder takes, its template's included; by how the name begins.
WINDOWS: Final = {"qwen-image-edit": 1_024}
#: Of them, what the template of these models takes, by the tokenizer that they share.
TEMPLATE_TOKENS: Final = 69

#: Counts the tokens of a text exactly.
Count = Callable[[str], int]


def fewest_tokens(text: str) -> int:
    """A number that no tokenizer of Qwen2's kind goes below."""
    kinds = map(_kind, _normal(text))
    runs = ((kind, sum(1 for _ in run)) for kind, run in groupby(kinds))
    return sum(length if kind == "digit" else kind == "letters" for kind, length in runs)


def most_tokens(text: str) -> int:
    """A number that no tokenizer of bytes goes above."""
    return len(_normal(text).encode(errors="replace"))


def check_tokens(model: str, what: str, text: str, count: Count | None = None) -> None:
    """Raises ``InvalidRequest`` for a text that the model's worker would refuse for certain.

    Without ``count`` most texts that are too long pass: the worker, which has the tokenizer,
    refuses them before its card works.
    """
    window = next((tokens for name, tokens in WINDOWS.items() if model.startswith(name)), None)
    if window is None:
        return
    most = window - TEMPLATE_TOKENS
    if most_tokens(text) <= most:
        return
    # One more: at the template's border two tokens may become one.
    tokens = fewest_tokens(text) if count is None else count(text) - 1
    if tokens > most:
        raise InvalidRequest(f"{what}: at most {most} tokens, got {tokens} or more; say it shorter")


def counter_of(path: Path) -> Count:
    """Reads a ``tokenizer.json``.  Raises ``BadSettings`` where that cannot be."""
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - only where it is asked for
    except ImportError:
        raise BadSettings(
            "PACKSHOT_TOKENIZER needs the package tokenizers: pip install tokenizers"
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise BadSettings(f"PACKSHOT_TOKENIZER: {path} is no tokenizer.json: {error}") from None
    return lambda text: len(tokenizer.encode(text).ids)


def _normal(text: str) -> str:
    """As the tokenizer reads it first."""
    return unicodedata.normalize("NFC", text)


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("N"):
        return "digit"
    # What this Python does not know yet may be a letter to the tokenizer: it joins, never cuts.
    return "letters" if category.startswith("L") or category == "Cn" else "other"
