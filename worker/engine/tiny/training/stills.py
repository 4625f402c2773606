"""The autoencoder for single pictures: its causal 3D convolutions as the 2D ones they come to.

A still meets the last time slice of each kernel alone, the others meet padding.  So the 2D
convolution by that slice is exact, and several times faster.  The changes are made on one
instance: what it learns is the real class's weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast

import torch
from diffusers.models.autoencoders import autoencoder_kl_qwenimage as library
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.tiny.networks import make_autoencoder
from worker.engine.tiny.sizes import LATENT_CHANNELS, PATCH, Sizes


def untrained(sizes: Sizes) -> Any:  # noqa: ANN401 - untyped library
    """An autoencoder one for stills; the unused time slices are zero.

    The attention in its middle starts, and stays, as the identity: what a latent holds comes
    from its neighbourhood alone.
    """
    vae = make_autoencoder(sizes)
    for module in vae.modules():
        if isinstance(module, library.QwenImageCausalConv3d):
            module.weight.data[:, :, :-1] = 0
        if isinstance(module, library.QwenImageAttentionBlock):
            nn.init.zeros_(module.proj.weight)
            nn.init.zeros_(module.proj.bias)
    return for_stills(vae)


def for_stills(vae: Any) -> Any:  # noqa: ANN401 - untyped library
    """The same instance, its modules' calls replaced."""
    for module in vae.modules():
        if isinstance(module, library.QwenImageCausalConv3d):
            module.forward = functools.partial(_flat_convolution, module)
        if isinstance(module, library.QwenImageAttentionBlock):
            module.forward = _identity
            module.requires_grad_(requires_grad=False)
        if isinstance(module, library.QwenImageResample) and hasattr(module, "time_conv"):
            module.time_conv.requires_grad_(requires_grad=False)
    return vae


def for_videos(vae: Any) -> Any:  # noqa: ANN401 - untyped library
    """Undo ``for_stills``: every module calls what its class defines."""
    for module in vae.modules():
        vars(module).pop("forward", None)
    return vae


def encode(vae: Any, pictures: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
    """Latents (batch, 16, height / 8, width / 8) of pictures (batch, 3, height, width), -1 to 1.

    The mode of the distribution, which is what the pipeline takes; not yet normalised.
    """
    moments = vae.quant_conv(vae.encoder(pictures.unsqueeze(2)))
    return cast("Tensor", moments[:, :LATENT_CHANNELS, 0])


def decode(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
    """Pictures from latents as ``encode`` gives them; not clipped."""
    return cast("Tensor", vae.decoder(vae.post_quant_conv(latents.unsqueeze(2)))[:, :, 0])


def normalised(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
    """Each channel with mean 0 and deviation 1, as the pipeline does, by the configuration."""
    mean, deviation = _spread(vae, latents)
    return (latents - mean) / deviation


def unnormalised(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - untyped library
    mean, deviation = _spread(vae, latents)
    return latents * deviation + mean


def _spread(vae: Any, latents: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - untyped library
    """Mean and deviation, shape (1, channels, 1, 1)."""
    values = (vae.config.latents_mean, vae.config.latents_std)
    mean, deviation = (torch.tensor(one, device=latents.device).view(1, -1, 1, 1) for one in values)
    return mean, deviation


def pack(latents: Tensor) -> Tensor:
    """Tokens (batch, height * width / 4, 64), as the pipeline's ``_pack_latents``."""
    batch, channels, height, width = latents.shape
    split = latents.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH**2)


def unpack(tokens: Tensor) -> Tensor:
    """Undo ``pack`` of square pictures."""
    side = int(tokens.shape[1] ** 0.5)
    split = tokens.view(len(tokens), side, side, -1, PATCH, PATCH)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, side * PATCH, side * PATCH)


def from_bytes(pictures: Tensor) -> Tensor:
    """(batch, height, width, 3) of uint8 to (batch, 3, height, width), -1 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def in_batches(values: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _flat_convolution(conv: Any, picture: Tensor, cache_x: object = None) -> Tensor:  # noqa: ANN401
    if cache_x is not None or picture.shape[2] != 1:
        raise ValueError("stills only: one frame, no cache")
    flat = functional.conv2d(
        picture[:, :, 0],
        conv.weight[:, :, -1],
        conv.bias,
        conv.stride[1:],
        (conv._padding[2], conv._padding[0]),  # noqa: SLF001 - where the class keeps it
    )
    return flat.unsqueeze(2)


def _identity(picture: Tensor) -> Tensor:
    return picture
