"""The text encoder's embeddings for training: those of the engine, at a third of the work.

All prompts begin with the same tokens, which causal attention computes alike: here they are
computed once for a batch.  The layout of a prompt with one square picture is fixed, so its
positions and its vision tower's windows are constants.  Tests hold the result to the engine's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.tiny.networks import TEXT_THETA, VISION_PATCH, VISION_SIDE
from worker.engine.tiny.tokenizer import PREFIX_TOKENS, TEMPLATE

IMAGE_TOKENS: Final = 4
_MERGED: Final = 2  # patches of an image token's side
_PATCHES: Final = VISION_SIDE // VISION_PATCH
_PICTURE: Final = "Picture 1: <|vision_start|>"
#: of Qwen2-VL's image processor, on channels from 0 to 1
_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)


def tokens_after_picture(tokenizer: Any, instructions: Sequence[str]) -> list[list[int]]:  # noqa: ANN401 - untyped library
    """Ids of what follows the picture's tokens in the prompt of each instruction."""
    after = TEMPLATE.partition("{}")[2]
    return cast(
        "list[list[int]]",
        tokenizer([f"<|vision_end|>{text}{after}" for text in instructions]).input_ids,
    )


@dataclass(frozen=True, slots=True)
class _Rotation:
    """Rotary positions: cosine and sine; shape (positions, head width)."""

    cosine: Tensor
    sine: Tensor

    def __call__(self, heads: Tensor) -> Tensor:
        """Of shape (batch, heads, positions, head width); halves are rotated into each other."""
        low, high = heads.chunk(2, -1)
        cosine, sine = self.cosine.to(heads.dtype), self.sine.to(heads.dtype)
        return heads * cosine + torch.cat([-high, low], -1) * sine

    def part(self, start: int, end: int) -> _Rotation:
        return _Rotation(self.cosine[start:end], self.sine[start:end])


class Reader:
    """``encoder`` is the real class; its parameters are used and learnt, its ``forward`` is not."""

    def __init__(self, encoder: Any, tokenizer: Any, *, longest: int, device: str) -> None:  # noqa: ANN401 - untyped library
        """``longest``: of the tokens after the picture, padding included."""
        self._language = encoder.model.language_model
        self._visual = encoder.model.visual
        config = encoder.config.text_config
        self._heads = config.num_attention_heads
        self._vision_heads = encoder.config.vision_config.num_heads
        prefix = TEMPLATE.partition("{}")[0] + _PICTURE
        self._prefix = torch.tensor([tokenizer(prefix).input_ids], device=device)
        self.head = self._prefix.shape[1]
        rotation = _text_rotation(
            self.head,
            longest,
            config.hidden_size // self._heads,
            config.rope_parameters["mrope_section"],
            device,
        )
        self._rotation = rotation
        rest = IMAGE_TOKENS + longest
        self._see = torch.ones(rest, self.head + rest, dtype=torch.bool, device=device).tril(
            self.head
        )
        width = encoder.config.vision_config.hidden_size // self._vision_heads
        self._vision_rotation = _vision_rotation(width, device)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(_MEAN, device=device).view(shape)
        self._deviation = torch.tensor(_DEVIATION, device=device).view(shape)

    def embed(self, thumbnails: Tensor, ids: Tensor) -> Tensor:
        """Prompt embeddings, shape (batch, head - 64 + 4 + longest, width); padding at the end.

        ``thumbnails`` are uint8 (batch, 3, 56, 56), ``ids`` (batch, longest).
        """
        table = self._language.embed_tokens
        head = table(self._prefix)
        rest = torch.cat([self._image_tokens(thumbnails), table(ids)], 1)
        for layer in self._language.layers:
            head, rest = self._layer(layer, head, rest)
        shared = self._language.norm(head[:, PREFIX_TOKENS:])
        return torch.cat([shared.expand(len(ids), -1, -1), self._language.norm(rest)], 1)

    def mask(self, lengths: Tensor, longest: int) -> Tensor:
        """Which embeddings are no padding, shape as theirs; ``lengths`` of ``ids``."""
        before = self.head - PREFIX_TOKENS + IMAGE_TOKENS
        along = torch.arange(before + longest, device=lengths.device)
        return along < lengths[:, None] + before

    def _layer(self, layer: Any, head: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        attention = layer.self_attn
        rotation = self._rotation
        asked, keys, values = self._projected(
            attention, layer.input_layernorm(head), rotation.part(0, self.head)
        )
        head_out = functional.scaled_dot_product_attention(asked, keys, values, is_causal=True)
        rest_asked, rest_keys, rest_values = self._projected(
            attention,
            layer.input_layernorm(rest),
            rotation.part(self.head, self.head + rest.shape[1]),
        )
        batch = rest.shape[0]
        keys = torch.cat([keys.expand(batch, -1, -1, -1), rest_keys], 2)
        values = torch.cat([values.expand(batch, -1, -1, -1), rest_values], 2)
        rest_out = attend(rest_asked, keys, values, self._see[: rest.shape[1], : keys.shape[2]])
        head = head + attention.o_proj(head_out.transpose(1, 2).flatten(2))
        rest = rest + attention.o_proj(rest_out.transpose(1, 2).flatten(2))
        norm = layer.post_attention_layernorm
        return head + layer.mlp(norm(head)), rest + layer.mlp(norm(rest))

    def _projected(
        self,
        attention: Any,  # noqa: ANN401 - untyped library
        hidden: Tensor,
        rotation: _Rotation,
    ) -> tuple[Tensor, Tensor, Tensor]:
        asked, keys, values = (
            split_heads(projection(hidden), self._heads)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return rotation(asked), rotation(keys), values

    def _image_tokens(self, thumbnails: Tensor) -> Tensor:
        """Shape (batch, 4, width)."""
        patches = patches_of((thumbnails.float() / 255 - self._mean) / self._deviation)
        kernel = self._visual.patch_embed.proj.weight
        hidden = functional.linear(patches, kernel.flatten(1))
        for block in self._visual.blocks:
            hidden = hidden + self._seen(block.attn, block.norm1(hidden))
            hidden = hidden + block.mlp(block.norm2(hidden))
        merger = self._visual.merger
        batch = hidden.shape[0]
        merged = merger.ln_q(hidden).reshape(batch, IMAGE_TOKENS, -1)
        return cast("Tensor", merger.mlp(merged))

    def _seen(self, attention: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
        batch, patches, _ = hidden.shape
        three = attention.qkv(hidden).view(batch, patches, 3, self._vision_heads, -1)
        asked, keys, values = three.permute(2, 0, 3, 1, 4).unbind(0)
        rotate = self._vision_rotation
        out = attend(rotate(asked), rotate(keys), values, None)
        return cast("Tensor", attention.proj(out.transpose(1, 2).flatten(2)))


def attend(asked: Tensor, keys: Tensor, values: Tensor, see: Tensor | None) -> Tensor:
    """Attention over (batch, heads, positions, width); ``see``: which keys a query may use.

    On the CPU as plain products: the fused kernel's backward pass is several times slower there.
    """
    if asked.is_cuda:
        fused: Tensor = functional.scaled_dot_product_attention(asked, keys, values, attn_mask=see)
        return fused
    scores = (asked * asked.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if see is not None:
        scores = scores.masked_fill(~see, -30_000.0)
    out: Tensor = scores.softmax(-1).to(values.dtype) @ values
    return out


def split_heads(values: Tensor, heads: int) -> Tensor:
    """(batch, positions, width) to (batch, heads, positions, width of a head)."""
    batch, positions, _ = values.shape
    return values.view(batch, positions, heads, -1).transpose(1, 2)


def patches_of(pictures: Tensor) -> Tensor:
    """(batch, 3, 56, 56) to (batch, 16, 1176): the image processor's order and doubled frame."""
    batch, side = len(pictures), _PATCHES // _MERGED
    grid = pictures.view(batch, 3, side, _MERGED, VISION_PATCH, side, _MERGED, VISION_PATCH)
    grid = grid.permute(0, 2, 5, 3, 6, 1, 4, 7)  # tokens' y, x; patches' y, x; channel; pixels
    frames = grid.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return frames.reshape(batch, _PATCHES**2, -1)


def _text_rotation(
    head: int, longest: int, width: int, axes: Sequence[int], device: str
) -> _Rotation:
    """Text counts on; the image's tokens stand at one time, in two rows and columns."""
    before = torch.arange(head).expand(3, -1)
    after = torch.arange(longest).expand(3, -1) + head + _MERGED
    along = torch.arange(IMAGE_TOKENS)
    image = head + torch.stack([along * 0, along // _MERGED, along % _MERGED])
    positions = torch.cat([before, image, after], 1).float()  # time, row, column
    axis = torch.tensor([number for number, pairs in enumerate(axes) for _ in range(pairs)])
    return _rotation(positions[axis].T * _frequencies(width, TEXT_THETA), device)


def _vision_rotation(width: int, device: str) -> _Rotation:
    """Rows for the first half of a head's pairs, columns for the second."""
    numbers = torch.arange(_PATCHES**2).view(
        _PATCHES // _MERGED, _MERGED, _PATCHES // _MERGED, _MERGED
    )
    order = numbers.permute(0, 2, 1, 3).flatten()
    frequencies = _frequencies(width // 2, 10_000.0)
    rows, columns = (
        positions[:, None] * frequencies
        for positions in ((order // _PATCHES).float(), (order % _PATCHES).float())
    )
    return _rotation(torch.cat([rows, columns], 1), device)


def _frequencies(width: int, theta: float) -> Tensor:
    return torch.exp(-math.log(theta) * torch.arange(0, width, 2).float() / width)


def _rotation(angles: Tensor, device: str) -> _Rotation:
    twice = torch.cat([angles, angles], -1).to(device)
    return _Rotation(twice.cos(), twice.sin())


def start_embeddings(encoder: Any, deviation: float = 0.5) -> None:  # noqa: ANN401 - untyped library
    """Larger than the library's 0.02: words differ from the first step on."""
    nn.init.normal_(encoder.model.language_model.embed_tokens.weight, std=deviation)
