"""Kernels for a card, run here by triton's interpreter, which computes as its compiler would.

In float32: the interpreter cuts bfloat16 where a card rounds it.  What a card rounded is in
docs/benchmarks.md.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention import FeedForward

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None, reason="torch's build for the CPU has no triton"
    ),
]

#: Whether triton interprets is decided where it is imported: in a process of its own.
PROBE = """
import torch
from diffusers.models.normalization import RMSNorm
from worker.engine.diffusers.exact import RealRotary, as_real
from worker.engine.diffusers.kernels import KernelRotary

torch.manual_seed(0)
for heads, width in ((24, 128), (3, 64), (2, 32)):
    streams = []
    for tokens in (5, 9):
        norm = RMSNorm(width, eps=1e-6)
        norm.weight.data.normal_(1.0, 0.2)
        turns = torch.polar(torch.ones(tokens, width // 2), torch.randn(tokens, width // 2))
        streams += [torch.randn(1, tokens, heads, width), norm, as_real(turns)]
    with torch.no_grad():
        theirs, ours = RealRotary.joined(*streams), KernelRotary.joined(*streams)
    assert ours.shape == (1, 14, heads, width)
    print(float((ours - theirs).abs().max()))
"""


def test_the_kernel_norms_rotates_and_joins_as_the_library_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=Path(__file__).parents[2],
        env={"TRITON_INTERPRET": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    distances = [float(line) for line in done.stdout.split()]
    assert len(distances) == 3
    assert max(distances) < 1e-5


def feed_forward(activation: str) -> Any:  # noqa: ANN401 - untyped library
    torch.manual_seed(0)
    return FeedForward(16, activation_fn=activation).eval()


@torch.no_grad()
def test_the_product_with_its_activation_takes_the_layers_place() -> None:
    """On the CPU torch takes GELU itself there, from which tanh's differs by 0.0005 at most."""
    from worker.engine.diffusers.kernels import GeluProduct, use_gelu_products  # noqa: PLC0415

    layer = feed_forward("gelu-approximate")
    names, tokens = set(layer.state_dict()), torch.randn(1, 7, 16)
    before = layer(tokens)
    use_gelu_products(layer)

    assert type(layer.net[0]) is GeluProduct
    assert set(layer.state_dict()) == names
    assert torch.allclose(layer(tokens), before, atol=2e-3)


@pytest.mark.parametrize("activation", ["gelu", "geglu-approximate", "linear-silu"])
def test_another_activation_is_left_as_it_is(activation: str) -> None:
    from worker.engine.diffusers.kernels import use_gelu_products  # noqa: PLC0415

    layer = feed_forward(activation)
    kind = type(layer.net[0])
    use_gelu_products(layer)

    assert type(layer.net[0]) is kind


def test_rounded_weights_keep_the_product_that_they_brought() -> None:
    from torch.testing._internal.two_tensor import TwoTensor  # noqa: PLC0415 - stands for torchao's

    from worker.engine.diffusers.kernels import use_gelu_products  # noqa: PLC0415

    layer = feed_forward("gelu-approximate")
    weight = layer.net[0].proj.weight.detach()
    layer.net[0].proj.weight = torch.nn.Parameter(TwoTensor(weight, weight), requires_grad=False)
    kind = type(layer.net[0])
    use_gelu_products(layer)

    assert type(layer.net[0]) is kind
