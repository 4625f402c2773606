"""What an edit must cost, and what the card can do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import torch

TERA: Final = 1e12
#: rows, columns and inner width of the products that are timed; the second is the model's own
_PRODUCTS: Final = ((8_192, 8_192, 8_192), (8_448, 12_288, 3_072))
_SMALL_PRODUCTS: Final = ((256, 256, 256),)
_REPEATS: Final = 20


def forward_tflop(transformer: Mapping[str, Any], tokens: int) -> float:
    """TFLOP of one pass over so many tokens: pictures' and text's alike.

    A token passes, in each layer, four square matrices of attention and two of the feed-forward
    that are four times as wide; a multiply-add counts as two.  Attention multiplies every token
    with every other, twice.  What runs on a single token (modulation) is left out.
    """
    width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
    layers = transformer["num_layers"]
    linear = layers * 2 * (4 * width**2 + 2 * width * 4 * width) * tokens
    attention = layers * 4 * tokens**2 * width
    return float(linear + attention) / TERA


@torch.no_grad()
def card_tflops(device: str) -> float:
    """TFLOP a second of the best of a few large products of matrices: bf16, on a CPU float32."""
    products = _SMALL_PRODUCTS if device == "cpu" else _PRODUCTS
    return max(_rate(device, *product) for product in products)


def _rate(device: str, rows: int, columns: int, inner: int) -> float:
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(inner, columns, device=device, dtype=dtype)
    for _ in range(3):
        left @ right
    settle(device)
    began = time.perf_counter()
    for _ in range(_REPEATS):
        left @ right
    settle(device)
    seconds = time.perf_counter() - began
    return 2 * rows * columns * inner * _REPEATS / seconds / TERA


def settle(device: str) -> None:
    """Wait until the card has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
