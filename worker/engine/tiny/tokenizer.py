"""A byte-level BPE, trained on the spot, in which the pipeline's fixed prefix has 64 tokens.

The pipeline drops the first 64 tokens of every prompt, as many as Qwen's own tokenizer
makes of the prefix.  Here every word of the prefix is made one token, which comes to the
same number.  Special ids follow the learnt ones: nothing knows the big model's numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

from worker.engine.tiny.chinese import CHINESE
from worker.engine.tiny.language import Language, words
from worker.engine.tiny.palette import PALETTE
from worker.engine.tiny.phrases import instruction
from worker.engine.tiny.scenes import Scene

#: From diffusers' pipeline_qwenimage_edit_plus.py, which keeps it inside its constructor.
TEMPLATE: Final = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, "
    "texture, objects, background), then explain how the user's text instruction should alter "
    "or modify the image. Generate a new image that meets the user's requirements while "
    "maintaining consistency with the original input where appropriate.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
PREFIX_TOKENS: Final = 64  # the pipeline's prompt_template_encode_start_idx
END_OF_TEXT: Final = "<|endoftext|>"
END_OF_TURN: Final = "<|im_end|>"
SPECIALS: Final = (
    END_OF_TEXT,
    "<|im_start|>",
    END_OF_TURN,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
#: How Qwen2 cuts text into words before merging bytes.
_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: What trained wordings are made of, beside the names of colours and things: the tokenizer
#: makes each of them one token.  Words of unseen wordings are left out: nothing would be
#: learnt of such a token.
CHINESE_WORDS: Final = words(
    "背景|颜色|标志|图案|换成|改为|改成|变成|变为|替换为|设为|设置成|涂成|染成|后面|放在|去掉|去除|"
    "删除|删掉|移除|清除|擦除|擦掉|不要|没有|不带|添加|加上|加一个|印上|装饰|一个|我想要|我要|要有|"
    "使用|同样的|其他|保持|不变|谢谢|改变|部分|上的|把|将|请|给|用|在|上|的|要|让|加|印|画|带|为|配|"
    "有|换|做|纯|个|，|。|："
)
VOCABULARY: Final = 1_000  # tokens at most, before the special ones
_INSTRUCTIONS: Final = 2_000
_PREFIX_REPEATS: Final = 5_000  # above any other word's count: the prefix is merged first
_CHINESE_REPEATS: Final = 100


def train_tokenizer(seed: int) -> Any:  # noqa: ANN401 - untyped library
    """A ``Qwen2Tokenizer`` of at most about a thousand tokens; takes a second."""
    vocabulary, merges = _learn(seed)
    for special in SPECIALS:
        vocabulary[special] = len(vocabulary)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=END_OF_TEXT,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIALS)})
    prefix = len(tokenizer(TEMPLATE.partition("{}")[0]).input_ids)
    if prefix != PREFIX_TOKENS:
        raise AssertionError(f"the prefix has {prefix} tokens, the pipeline drops {PREFIX_TOKENS}")
    return tokenizer


def _learn(seed: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=3,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(_corpus(seed), trainer)
    learnt = json.loads(learner.to_str())["model"]
    return dict(learnt["vocab"]), [(left, right) for left, right in learnt["merges"]]


def _corpus(seed: int) -> Iterator[str]:
    text = TEMPLATE.replace("{}", "\nPicture 1: ")
    for special in SPECIALS:
        text = text.replace(special, "\n")
    for _ in range(_PREFIX_REPEATS):
        yield text
    rng = np.random.default_rng(seed)
    for _ in range(_INSTRUCTIONS):
        scene = Scene.random(rng)
        kind = scene.edits[int(rng.integers(len(scene.edits)))]
        yield instruction(rng, scene, scene.random_edit(rng, kind), Language.ENGLISH)
    # Words alone: Chinese has no spaces, and whole sentences would become single tokens.
    for _ in range(_CHINESE_REPEATS):
        yield from _chinese_words()


def _chinese_words() -> Iterator[str]:
    yield from CHINESE_WORDS
    yield from CHINESE.any_product
    named = (*CHINESE.products.values(), *CHINESE.logos.values())
    for names in (*(colour.chinese for colour in PALETTE.values()), *named):
        yield from names
