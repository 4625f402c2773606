"""The transformer's prediction for training: the engine's, without what no loss depends on.

Of the last block only the noisy tokens go on: its source tokens and its text are keys and
values and nothing more.  Rotary positions are computed in real numbers, which compile.
Tests hold the result to the real class's ``forward``.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from worker.engine.tiny.scenes import USUAL_SIDE
from worker.engine.tiny.sizes import FACTOR, PATCH, TOKEN_VALUES, Sizes
from worker.engine.tiny.training.reading import attend, split_heads

GRID: Final = USUAL_SIDE // FACTOR // PATCH  # tokens of a picture's side
TOKENS: Final = GRID * GRID
LONGEST_TEXT: Final = 1_024  # tokens that the pipeline takes at most


class Predictor:
    """``net`` is the real class; its parameters are used and learnt, its ``forward`` is not."""

    def __init__(self, net: Any, *, device: str) -> None:  # noqa: ANN401 - untyped library
        self._net = net
        self._heads = net.config.num_attention_heads
        shapes = [[(1, GRID, GRID), (1, GRID, GRID)]]
        pictures, text = net.pos_embed(
            shapes, max_txt_seq_len=LONGEST_TEXT, device=torch.device(device)
        )
        self._pictures, self._text = torch.view_as_real(pictures), torch.view_as_real(text)

    def predict(
        self, noisy: Tensor, source: Tensor, text: Tensor, see: Tensor, sigma: Tensor
    ) -> Tensor:
        """Velocities, shape as ``noisy``: (batch, 64, 64).

        ``see``: which of ``text`` (batch, tokens, width) is no padding.
        """
        net = self._net
        tokens = net.img_in(torch.cat([noisy, source], 1))
        context = net.txt_in(net.txt_norm(text))
        time = net.time_text_embed(sigma, tokens)
        keys = torch.cat([see, see.new_ones(len(see), tokens.shape[1])], 1)[:, None, None]
        last = len(net.transformer_blocks) - 1
        for number, block in enumerate(net.transformer_blocks):
            context, tokens = self._block(block, context, tokens, time, keys, last=number == last)
        return cast("Tensor", net.proj_out(net.norm_out(tokens, time)))

    def _block(  # noqa: PLR0913 - what the real block takes
        self,
        block: Any,  # noqa: ANN401 - untyped library
        context: Tensor,
        tokens: Tensor,
        time: Tensor,
        keys: Tensor,
        *,
        last: bool,
    ) -> tuple[Tensor, Tensor]:
        first, second = block.img_mod(time).unsqueeze(1).chunk(2, -1)
        text_first, text_second = block.txt_mod(time).unsqueeze(1).chunk(2, -1)
        plain, gate = _modulated(block.img_norm1(tokens), first)
        text_plain, text_gate = _modulated(block.txt_norm1(context), text_first)
        out, text_out = self._attended(block.attn, plain, text_plain, keys, last=last)
        if last:
            tokens = tokens[:, :TOKENS]
        tokens = tokens + gate * out
        plain, gate = _modulated(block.img_norm2(tokens), second)
        tokens = tokens + gate * block.img_mlp(plain)
        if text_out is not None:
            context = context + text_gate * text_out
            plain, gate = _modulated(block.txt_norm2(context), text_second)
            context = context + gate * block.txt_mlp(plain)
        return context, tokens

    def _attended(
        self,
        attention: Any,  # noqa: ANN401 - untyped library
        plain: Tensor,
        text: Tensor,
        see: Tensor,
        *,
        last: bool,
    ) -> tuple[Tensor, Tensor | None]:
        heads, length = self._heads, text.shape[1]
        keys = split_heads(attention.to_k(plain), heads)
        values = split_heads(attention.to_v(plain), heads)
        keys = _turned(attention.norm_k(keys), self._pictures)
        text_keys = split_heads(attention.add_k_proj(text), heads)
        text_keys = _turned(attention.norm_added_k(text_keys), self._text[:length])
        text_values = split_heads(attention.add_v_proj(text), heads)
        keys, values = torch.cat([text_keys, keys], 2), torch.cat([text_values, values], 2)
        asking = plain[:, :TOKENS] if last else plain
        asked = _turned(
            attention.norm_q(split_heads(attention.to_q(asking), heads)),
            self._pictures[: asking.shape[1]],
        )
        if last:
            return self._joined(attention.to_out[0], attend(asked, keys, values, see)), None
        text_asked = split_heads(attention.add_q_proj(text), heads)
        text_asked = _turned(attention.norm_added_q(text_asked), self._text[:length])
        out = attend(torch.cat([text_asked, asked], 2), keys, values, see)
        return (
            self._joined(attention.to_out[0], out[:, :, length:]),
            self._joined(attention.to_add_out, out[:, :, :length]),
        )

    @staticmethod
    def _joined(projection: Any, heads: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
        return cast("Tensor", projection(heads.transpose(1, 2).flatten(2)))


def _modulated(normed: Tensor, three: Tensor) -> tuple[Tensor, Tensor]:
    """What a block computes on, and the gate of its result."""
    shift, scale, gate = three.chunk(3, -1)
    return normed * (1 + scale) + shift, gate


def _turned(heads: Tensor, angles: Tensor) -> Tensor:
    """Rotated by position; ``angles`` are cosine and sine, shape (positions, width / 2, 2)."""
    cosine, sine = angles.to(heads.dtype).unbind(-1)
    real, imaginary = heads.view(*heads.shape[:-1], -1, 2).unbind(-1)
    turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
    return torch.stack(turned, -1).flatten(-2)


def start_transformer(net: Any, sizes: Sizes) -> None:  # noqa: ANN401 - untyped library
    """Weights to learn from: quiet modulations, and in the first block heads that copy.

    Those bring the source's token at the same place into the noisy token: what every edit
    needs first.  A width that cannot hold both tokens does without.
    """
    with torch.no_grad():
        for block in net.transformer_blocks:
            for modulation in (block.img_mod[1], block.txt_mod[1]):
                _quiet(modulation)
                gates = modulation.bias.view(6, sizes.width)
                gates[2] = gates[5] = 0.5
        _quiet(net.norm_out.linear)
        _quiet(net.proj_out)
        if sizes.width >= 2 * TOKEN_VALUES:
            _copy_source(net, sizes)


def _quiet(linear: Any) -> None:  # noqa: ANN401 - untyped library
    linear.weight.mul_(0.1)
    linear.bias.zero_()


def _copy_source(net: Any, sizes: Sizes) -> None:  # noqa: ANN401 - untyped library
    """Values 0 to 63 of the residual stream are the token; 64 to 127 get the source's.

    Queries and keys are constants, turned by their positions: the score is highest at equal
    row and column.  The query is turned one picture further: from the noisy picture (0) it
    meets the source (1).
    """
    net.img_in.weight[:TOKEN_VALUES] = torch.eye(TOKEN_VALUES)
    net.img_in.weight[TOKEN_VALUES : 2 * TOKEN_VALUES] = 0
    net.img_in.bias.zero_()
    attention = net.transformer_blocks[0].attn
    copying = math.ceil(TOKEN_VALUES / sizes.head_width)
    rows = copying * sizes.head_width
    asked, key, strong = _place(sizes)
    for norm in (attention.norm_q, attention.norm_k):
        norm.weight[strong] = 2.6
    for linear, constant in ((attention.to_q, asked), (attention.to_k, key)):
        linear.weight[:rows] = 0
        linear.bias[:rows] = constant.repeat(copying)
    attention.to_v.weight[:TOKEN_VALUES] = 0
    attention.to_v.weight[:TOKEN_VALUES, :TOKEN_VALUES] = torch.eye(TOKEN_VALUES)
    attention.to_v.bias[:TOKEN_VALUES] = 0
    out = attention.to_out[0].weight
    out[:, :TOKEN_VALUES] = 0
    out[TOKEN_VALUES : 2 * TOKEN_VALUES, :TOKEN_VALUES] = torch.eye(TOKEN_VALUES)
    out[TOKEN_VALUES : 2 * TOKEN_VALUES, TOKEN_VALUES:] *= 0.1


def _place(sizes: Sizes) -> tuple[Tensor, Tensor, list[int]]:
    """Query and key of a copying head, and which of their values count."""
    frame, side, _ = sizes.rope_axes
    key = torch.zeros(sizes.head_width)
    strong = [0, *range(frame, frame + 4, 2), *range(frame + side, frame + side + 4, 2)]
    key[strong] = 1
    asked = key.clone()
    asked[0], asked[1] = math.cos(1), math.sin(1)
    return asked, key, [*strong, *(number + 1 for number in strong)]


def start_attention(net: nn.Module) -> None:
    """Xavier for all projections of queries, keys and values."""
    for name, value in net.named_parameters():
        if ".attn." in name and value.ndim == 2:
            nn.init.xavier_uniform_(value)
