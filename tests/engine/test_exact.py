"""Levers that claim to make the same picture: measured against the library's own computation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from PIL import Image

from jobs.errors import BadSettings
from jobs.model import EditRequest
from tests.engine.variants import TINY, load, loaded_so
from worker.engine.base import edited
from worker.engine.diffusers import exact
from worker.engine.diffusers.exact import flatten_vae, use_real_rotary
from worker.engine.diffusers.models import MODELS
from worker.engine.diffusers.profiles import Load

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
TEXT = 7


def transformer(*, zero_cond_t: bool) -> Any:  # noqa: ANN401 - untyped library
    """Two blocks whose heads are as wide as the model's own."""
    torch.manual_seed(1)
    return QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=128,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(16, 56, 56),
        zero_cond_t=zero_cond_t,
    ).eval()


@torch.no_grad()
def forward(model: Any) -> torch.Tensor:  # noqa: ANN401
    """A canvas of 4 x 6 tokens and a reference of 8 x 2."""
    numbers = torch.Generator().manual_seed(2)
    tokens: torch.Tensor = model(
        hidden_states=torch.randn(1, 24 + 16, 16, generator=numbers),
        encoder_hidden_states=torch.randn(1, TEXT, 32, generator=numbers),
        timestep=torch.tensor([0.5]),
        img_shapes=[[(1, 4, 6), (1, 8, 2)]],
        return_dict=False,
    )[0]
    return tokens


@pytest.mark.parametrize("zero_cond_t", [False, True])
def test_rotation_without_complex_numbers_is_the_librarys(zero_cond_t: bool) -> None:  # noqa: FBT001
    model = transformer(zero_cond_t=zero_cond_t)
    theirs = forward(model)
    use_real_rotary(model)
    ours = forward(model)

    assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    assert all(type(one) is exact.RealRotary for one in model.attn_processors.values())


def test_it_reaches_the_blocks_as_real_numbers() -> None:
    model = transformer(zero_cond_t=False)
    use_real_rotary(model)
    rotations = model.pos_embed([[(1, 2, 3)]], max_txt_seq_len=TEXT, device=torch.device("cpu"))

    assert [tuple(one.shape) for one in rotations] == [(2, 6, 64), (2, TEXT, 64)]
    assert {one.dtype for one in rotations} == {torch.float32}


def test_a_library_that_rotates_otherwise_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(rotation: torch.Tensor) -> torch.Tensor:
        return torch.stack([rotation.real, -rotation.imag])

    monkeypatch.setattr(exact, "as_real", backwards)
    with pytest.raises(BadSettings, match="not the one that this engine compiles"):
        use_real_rotary(transformer(zero_cond_t=False))


def test_masks_are_not_silently_left_out() -> None:
    model = transformer(zero_cond_t=False)
    use_real_rotary(model)
    with pytest.raises(ValueError, match="masks must not"):
        model(
            hidden_states=torch.zeros(1, 4, 16),
            encoder_hidden_states=torch.zeros(1, 2, 32),
            encoder_hidden_states_mask=torch.ones(1, 2, dtype=torch.bool),
            timestep=torch.tensor([0.5]),
            img_shapes=[[(1, 2, 2)]],
        )


@pytest.fixture
def vae() -> Any:  # noqa: ANN401 - untyped library
    """The real one's layers and strides, an eighth as wide."""
    torch.manual_seed(1)
    return AutoencoderKLQwenImage(
        base_dim=12, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2
    ).eval()


@torch.no_grad()
def test_a_flattened_vae_reads_and_writes_the_same_picture(vae: Any) -> None:  # noqa: ANN401
    numbers = torch.Generator().manual_seed(2)
    picture = torch.randn(1, 3, 1, 48, 64, generator=numbers)
    latents = torch.randn(1, 16, 1, 6, 8, generator=numbers)
    read, written = vae.encode(picture).latent_dist.mode(), vae.decode(latents).sample
    flatten_vae(vae)

    assert torch.allclose(vae.encode(picture).latent_dist.mode(), read, atol=1e-5, rtol=1e-4)
    assert torch.allclose(vae.decode(latents).sample, written, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_it_keeps_nothing_for_a_next_frame(vae: Any) -> None:  # noqa: ANN401
    """Looked at where the picture is all but done, and most would be held."""
    flatten_vae(vae)
    kept: list[object] = []
    seen = [vae.encoder.conv_out, vae.decoder.conv_out]
    for part, memory in zip(seen, ("_enc_feat_map", "_feat_map"), strict=True):
        part.register_forward_pre_hook(
            lambda *_, memory=memory: kept.append(
                [one for one in getattr(vae, memory) if one is not None]
            )
        )
    vae.decode(vae.encode(torch.zeros(1, 3, 1, 16, 16)).latent_dist.mode())

    assert kept == [[], []]


@torch.no_grad()
def test_a_film_through_a_flattened_vae_is_refused(vae: Any) -> None:  # noqa: ANN401
    flatten_vae(vae)
    with pytest.raises(ValueError, match="one frame at a time, got 2"):
        vae.decode(torch.zeros(1, 16, 2, 2, 2))


def test_every_profile_has_it_and_the_librarys_picture_to_rounding(
    random_folder: Path, ask: Ask, product: Image.Image
) -> None:
    plain = load(random_folder, loaded_so(Load(flat_vae=False)))
    flat = load(random_folder, TINY)
    one, other = (edited(engine, [product], ask(steps=2), seed=1) for engine in (plain, flat))

    assert all(profile.load.flat_vae for row in MODELS.values() for profile in row.profiles)
    assert type(flat._pipeline.vae._decode) is partial  # noqa: SLF001
    assert type(plain._pipeline.vae._decode) is not partial  # noqa: SLF001
    difference = [abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)]
    assert max(difference) <= 1
