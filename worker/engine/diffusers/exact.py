"""Levers that make the same picture in less time or memory; made on the instance, as repairs.

    use_real_rotary    positions without complex numbers: the compiler cannot generate code for
                       those (pytorch/pytorch#163876, huggingface/diffusers #12668)
    flatten_vae        one picture is no film: plain convolutions, and nothing kept for a next frame

The same sums in another order: equal to the library's to rounding, which the tests measure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_qwenimage import QwenDoubleStreamAttnProcessor2_0
from torch.nn import functional

from worker.engine.diffusers.offer import cannot_compile

Tensor = torch.Tensor

#: Of one attention on a probe; bfloat16 has 8 bits.
ROUNDING: Final = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
_PROBE_SIDE: Final = 4
_PROBE_TEXT: Final = 5


class Stream(NamedTuple):
    """Queries or keys of text or image, and what is done to them before they are joined."""

    tokens: Tensor  #: [1, tokens, heads, width]
    norm: Any  #: the library's, of the width
    rotation: Tensor  #: cosines and sines, [2, tokens, width / 2]


class RealRotary(QwenDoubleStreamAttnProcessor2_0):  # type: ignore[misc]  # untyped library
    """The library's joint attention, with rotations as (cosine, sine) of shape [2, tokens, pairs].

    Without masks: one request's tokens are all valid, and the pipeline then passes none.
    """

    def __call__(  # noqa: PLR0913, PLR0917 - the library's call
        self,
        attn: Any,  # noqa: ANN401 - untyped library
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        if (encoder_hidden_states_mask, attention_mask) != (None, None) or image_rotary_emb is None:
            raise ValueError("rotations must be given, and masks must not")
        head = attn.inner_dim // attn.heads
        text = encoder_hidden_states.shape[1]
        image_rotation, text_rotation = image_rotary_emb
        query, key = (
            self.joined(
                Stream(_heads(added, encoder_hidden_states, head), added_norm, text_rotation),
                Stream(_heads(layer, hidden_states, head), norm, image_rotation),
            )
            for layer, norm, added, added_norm in (
                (attn.to_q, attn.norm_q, attn.add_q_proj, attn.norm_added_q),
                (attn.to_k, attn.norm_k, attn.add_k_proj, attn.norm_added_k),
            )
        )
        value = torch.cat(
            [
                _heads(attn.add_v_proj, encoder_hidden_states, head),
                _heads(attn.to_v, hidden_states, head),
            ],
            dim=1,
        )
        joint = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        joint = joint.flatten(2, 3).to(query.dtype)
        image = attn.to_out[0](joint[:, text:].contiguous())
        return image, attn.to_add_out(joint[:, :text].contiguous())

    @staticmethod
    def joined(text: Stream, image: Stream) -> Tensor:
        """Text before image, both normed and rotated."""
        return torch.cat([_rotated(one.norm(one.tokens), one.rotation) for one in (text, image)], 1)


def _heads(layer: Any, tokens: Tensor, head: int) -> Tensor:  # noqa: ANN401
    split: Tensor = layer(tokens).view(*tokens.shape[:2], -1, head)
    return split


def _rotated(tokens: Tensor, rotation: Tensor) -> Tensor:
    """(a + bi)(cos + i sin) for each pair of values, in float32 as the library does it."""
    cosine, sine = rotation.unsqueeze(2)
    first, second = tokens.float().reshape(*tokens.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack(
        [first * cosine - second * sine, first * sine + second * cosine], dim=-1
    ).flatten(3)
    return turned.type_as(tokens)


def use_real_rotary(transformer: Any, kind: type[RealRotary] = RealRotary) -> None:  # noqa: ANN401
    """Rotate without complex numbers; a transformer of another kind is left as it is.

    ``kind``: this module's, or that of ``kernels``.

    Raises ``BadSettings`` when the library's attention computes something else on a probe.
    """
    attentions = [
        part
        for part in transformer.modules()
        if type(getattr(part, "processor", None)) is QwenDoubleStreamAttnProcessor2_0
    ]
    if not attentions:
        return
    _compare(transformer, attentions[0], _in_place_of(attentions[0].processor, kind))
    for attention in attentions:
        attention.set_processor(_in_place_of(attention.processor, kind))
    plain = transformer.pos_embed.forward

    @functools.wraps(plain)
    def forward(*arguments: Any, **choices: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        return tuple(as_real(one) for one in plain(*arguments, **choices))

    transformer.pos_embed.forward = forward


def _in_place_of(processor: Any, kind: type[RealRotary]) -> RealRotary:  # noqa: ANN401
    """With the same kernel of attention: else it would be whichever the process set last."""
    made = kind()
    made._attention_backend = processor._attention_backend  # noqa: SLF001 - the library's own
    return made


def as_real(rotation: Tensor) -> Tensor:
    """Complex [tokens, pairs] as cosines and sines, [2, tokens, pairs]."""
    return torch.stack([rotation.real, rotation.imag])


@torch.no_grad()
def _compare(transformer: Any, attention: Any, processor: RealRotary) -> None:  # noqa: ANN401
    layer = attention.to_q.weight
    numbers = torch.Generator().manual_seed(0)
    image, text = (
        torch.randn(1, count, layer.shape[1], generator=numbers).to(layer.device, layer.dtype)
        for count in (_PROBE_SIDE**2, _PROBE_TEXT)
    )
    rotations = transformer.pos_embed(
        [[(1, _PROBE_SIDE, _PROBE_SIDE)]], max_txt_seq_len=_PROBE_TEXT, device=layer.device
    )
    theirs = attention.processor(attention, image, text, image_rotary_emb=rotations)
    ours = processor(
        attention, image, text, image_rotary_emb=(as_real(rotations[0]), as_real(rotations[1]))
    )
    for one, other in zip(theirs, ours, strict=True):
        distance = (one - other).abs().max() / one.abs().max().clamp_min(1e-6)
        if not distance <= ROUNDING[layer.dtype]:
            raise cannot_compile("the library's attention is not the one that this engine compiles")


def flatten_vae(vae: Any) -> None:  # noqa: ANN401 - untyped library
    """Make a film's VAE one of single pictures; a VAE of another kind is left as it is.

    Its causal convolutions see two frames of zeros before the first one, so of a kernel's three
    slices in time only the last one counts.  And each layer keeps its input for the next frame,
    which never comes: most of a decoding's memory.
    """
    convolutions = [one for one in vae.modules() if type(one).__name__ == "QwenImageCausalConv3d"]
    if not convolutions:
        return
    for convolution in convolutions:
        convolution.forward = functools.partial(_flat, convolution, convolution.forward)
    for part in (vae.encoder, vae.decoder):
        part.forward = functools.partial(_without_memory, part.forward)
    for name in ("_encode", "_decode"):
        setattr(vae, name, functools.partial(_of_one_frame, getattr(vae, name)))


def _flat(convolution: Any, plain: Any, film: Tensor, cache: Tensor | None = None) -> Tensor:  # noqa: ANN401
    width, _, height, _, before, _ = convolution._padding  # noqa: SLF001 - the library's own
    depth = convolution.kernel_size[0]
    if cache is not None or film.shape[2] != 1 or before != depth - 1:
        unchanged: Tensor = plain(film, cache)
        return unchanged
    kernel = convolution.weight[:, :, -1].contiguous(memory_format=torch.channels_last)
    flat = functional.conv2d(
        film[:, :, 0],
        kernel,
        convolution.bias,
        stride=convolution.stride[1:],
        padding=(height, width),
    )
    return flat.unsqueeze(2)


def _without_memory(plain: Callable[..., Tensor], film: Tensor, **_memory: object) -> Tensor:
    return plain(film)


def _of_one_frame(plain: Callable[..., Any], film: Tensor, **choices: Any) -> Any:  # noqa: ANN401
    if film.shape[2] != 1:
        raise ValueError(f"one frame at a time, got {film.shape[2]}")
    return plain(film, **choices)
