"""Kernels for an NVIDIA card, where the compiler's code moves more memory than it must.

    KernelRotary        queries and keys of both streams: normed, rotated, and in one tensor
    use_gelu_products   the feed-forward's first product with its activation, as cuBLAS has it

They are for compiled blocks; what they save is in docs/benchmarks.md.  Needs triton, which comes
with torch's build for CUDA.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl
from diffusers.models.activations import GELU

from worker.engine.diffusers.exact import RealRotary, Stream
from worker.engine.diffusers.offer import cannot_compile
from worker.engine.diffusers.precision import has_rounded

Tensor = torch.Tensor

_WARPS: Final = 8
#: Of a product of bfloat16, whose own sums are rounded once less, by the largest value.
ROUNDING: Final = 2e-2
_PROBE: Final = 16  #: tokens


class KernelRotary(RealRotary):
    @staticmethod
    def joined(text: Stream, image: Stream) -> Tensor:
        """Rounds where the library's ``RMSNorm`` and rotation do: after the norm, after its weight,
        and at the end.  The width is a power of two.  Raises ``ValueError`` for a batch.
        """
        batch, images, heads, width = image.tokens.shape
        if batch != 1:
            raise ValueError(f"one picture a pass, got {batch}")
        texts = text.tokens.shape[1]
        joined = image.tokens.new_empty(1, texts + images, heads, width)
        _joined[(texts + images,)](
            text.tokens,
            text.norm.weight,
            text.rotation,
            image.tokens,
            image.norm.weight,
            image.rotation,
            joined,
            texts,
            images,
            image.norm.eps,
            heads,
            1 << (heads - 1).bit_length(),
            width,
            num_warps=_WARPS,
        )
        return joined


@triton.jit  # type: ignore[untyped-decorator]
def _joined(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0913, PLR0917
    text,  # noqa: ANN001 - compiled, not called
    text_weight,  # noqa: ANN001
    text_rotation,  # noqa: ANN001
    image,  # noqa: ANN001
    image_weight,  # noqa: ANN001
    image_rotation,  # noqa: ANN001
    out,  # noqa: ANN001
    texts,  # noqa: ANN001
    images,  # noqa: ANN001
    eps: tl.constexpr,  # else torch 2.14's compiler hands it over, and has sums made, in 64 bits
    heads: tl.constexpr,
    heads_padded: tl.constexpr,
    width: tl.constexpr,
):
    """One token a program, all of its heads."""
    row = tl.program_id(0)
    pairs: tl.constexpr = width // 2
    if row < texts:
        tokens, weight, rotation, at, count = text, text_weight, text_rotation, row, texts
    else:
        tokens, weight, rotation = image, image_weight, image_rotation
        at, count = row - texts, images
    head = tl.arange(0, heads_padded)[:, None]
    lane = tl.arange(0, width)[None, :]
    pair = tl.arange(0, pairs)[None, :]
    kept = (head < heads) & (lane < width)
    place = head * width + lane

    rounded = out.dtype.element_ty
    token = tl.load(tokens + at * (heads * width) + place, mask=kept, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(token * token, axis=1, keep_dims=True) / width + eps)
    token = (token * scale).to(rounded).to(tl.float32)
    token = (token * tl.load(weight + lane).to(tl.float32)).to(rounded).to(tl.float32)

    cosine = tl.load(rotation + at * pairs + pair)
    sine = tl.load(rotation + (count + at) * pairs + pair)
    first, second = tl.split(tl.reshape(token, (heads_padded, pairs, 2)))
    turned = tl.join(first * cosine - second * sine, first * sine + second * cosine)
    turned = tl.reshape(turned, (heads_padded, width)).to(rounded)
    tl.store(out + row * (heads * width) + place, turned, mask=kept)


class GeluProduct(torch.nn.Module):
    """x W + b and its activation in one: tanh's GELU of the sums, before they are rounded."""

    def __init__(self, proj: torch.nn.Linear) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, tokens: Tensor) -> Tensor:
        flat = tokens.reshape(-1, tokens.shape[-1])
        made: Tensor = torch._addmm_activation(  # noqa: SLF001 - what torch's own layers call
            self.proj.bias, flat, self.proj.weight.t(), use_gelu=True
        )
        return made.view(*tokens.shape[:-1], -1)


def use_gelu_products(transformer: torch.nn.Module) -> None:
    """In every feed-forward of tanh's GELU whose weights are as they were loaded.

    Raises ``BadSettings`` when torch's product computes something else on a probe.
    """
    places = [
        (part, name, layer)
        for part in transformer.modules()
        for name, layer in part.named_children()
        if isinstance(layer, GELU) and _fits(layer)
    ]
    for _part, _name, layer in places[:1]:
        _compare(layer, GeluProduct(layer.proj))
    for part, name, layer in places:
        setattr(part, name, GeluProduct(layer.proj))


@torch.no_grad()
def _compare(layer: Any, product: GeluProduct) -> None:  # noqa: ANN401 - untyped library
    weight = layer.proj.weight
    numbers = torch.Generator().manual_seed(0)
    probe = torch.randn(1, _PROBE, weight.shape[1], generator=numbers)
    probe = probe.to(weight.device, weight.dtype)
    theirs, ours = layer(probe), product(probe)
    if not (theirs - ours).abs().max() <= ROUNDING * theirs.abs().max():
        raise cannot_compile(
            "torch's product with its activation is not the one that this engine compiles"
        )


def _fits(layer: Any) -> bool:  # noqa: ANN401 - untyped library
    if layer.approximate != "tanh" or layer.proj.bias is None:
        return False
    return not has_rounded(layer)  # whose product is torchao's own
