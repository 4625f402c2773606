"""Widths and depths of a small checkpoint's three networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

LATENT_CHANNELS: Final = 16
FACTOR: Final = 8  # pixels of a latent's side
PATCH: Final = 2  # latents of a token's side
#: values of one of the transformer's picture tokens
TOKEN_VALUES: Final = LATENT_CHANNELS * PATCH**2


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    #: the autoencoder's channels at full resolution, and their multiples at 1, 1/2, 1/4, 1/8
    vae_base: int
    vae_multiples: tuple[int, int, int, int]
    #: the transformer
    width: int
    heads: int
    layers: int
    text_width: int
    text_heads: int
    text_layers: int
    vision_width: int
    vision_heads: int
    vision_layers: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def rope_axes(self) -> tuple[int, int, int]:
        """A quarter of a head for the picture's number, the rest for its height and width."""
        return _parted(self.head_width)

    @property
    def text_rope_axes(self) -> tuple[int, int, int]:
        """The same for the text encoder, in pairs of values."""
        return _parted(self.text_width // self.text_heads // 2)

    def as_record(self) -> dict[str, Any]:
        """As JSON and state files hold it."""
        return asdict(self) | {"vae_multiples": list(self.vae_multiples)}


def _parted(width: int) -> tuple[int, int, int]:
    first = width // 4
    side = (width - first) // 2
    return (first, side, side)


#: For tests of the code around a model: 5 MB.
LEAST: Final = Sizes(
    vae_base=8,
    vae_multiples=(1, 2, 4, 4),
    width=64,
    heads=2,
    layers=2,
    text_width=64,
    text_heads=2,
    text_layers=2,
    vision_width=32,
    vision_heads=2,
    vision_layers=2,
)
#: What is trained, chosen by measurement (docs/tiny.md).  In float16 the three networks may
#: have 15 million parameters together: 30 MB.
TRAINED: Final = Sizes(
    vae_base=32,
    vae_multiples=(1, 2, 2, 2),
    width=256,
    heads=4,
    layers=4,
    text_width=128,
    text_heads=4,
    text_layers=2,
    vision_width=64,
    vision_heads=4,
    vision_layers=2,
)
