"""Kernels for a card, run here by triton's interpreter, which computes as its compiler would.

In float32 and float16: the interpreter cuts bfloat16 where a card rounds it.  What a card rounded
is in docs/benchmarks.md.
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

from jobs.errors import BadSettings
from tests.engine.test_exact import transformer
from worker.engine.diffusers.compiling import compile_blocks
from worker.engine.diffusers.exact import Stream

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None, reason="torch's build for the CPU has no triton"
    ),
]

#: Whether triton interprets is decided where it is imported: in a process of its own.
KERNEL = """
import torch
from diffusers.models.normalization import RMSNorm
from worker.engine.diffusers.exact import RealRotary, Stream, as_real
from worker.engine.diffusers.kernels import KernelRotary

torch.manual_seed(0)
for heads, width, dtype in (
    (24, 128, torch.float32), (3, 64, torch.float32), (2, 32, torch.float32), (24, 128, torch.half)
):
    streams = []
    for tokens in (5, 9):
        norm = RMSNorm(width, eps=0.1)
        norm.weight.data.normal_(1.0, 0.2)
        turns = torch.polar(torch.ones(tokens, width // 2), torch.randn(tokens, width // 2))
        values = torch.randn(1, tokens, heads, width, dtype=dtype)
        streams.append(Stream(values, norm.to(dtype), as_real(turns)))
    with torch.no_grad():
        theirs, ours = RealRotary.joined(*streams), KernelRotary.joined(*streams)
    assert ours.shape == (1, 14, heads, width)
    assert ours.dtype == theirs.dtype == dtype
    print(float((ours - theirs).abs().max()), float((ours != theirs).float().mean()))
"""
TRANSFORMER = """
from tests.engine.test_exact import forward, transformer
from worker.engine.diffusers.compiling import compile_blocks
from worker.engine.diffusers.exact import RealRotary
from worker.engine.diffusers.kernels import GeluProduct, KernelRotary

for zero_cond_t in (False, True):
    model = transformer(zero_cond_t=zero_cond_t)
    theirs = forward(model)
    model.compile_repeated_blocks = lambda **_choices: None  # there is no code for an interpreter
    compile_blocks(model, own_kernels=True)
    assert all(type(one) is KernelRotary for one in model.attn_processors.values())
    assert all(type(one.img_mlp.net[0]) is GeluProduct for one in model.transformer_blocks)
    print(float((forward(model) - theirs).abs().max()))
"""
#: As torch's compiler hands it over, which of an argument that is a float makes 64 bits.
CODE = """
import re, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from worker.engine.diffusers.kernels import _joined

fixed = {"eps": 1e-6, "heads": 24, "heads_padded": 32, "width": 128}
kinds = {"text": "*bf16", "text_weight": "*bf16", "text_rotation": "*fp32", "out": "*bf16"}
kinds |= {"image": "*bf16", "image_weight": "*bf16", "image_rotation": "*fp32"}
kinds |= {"texts": "i32", "images": "i32", "eps": "fp64"}
signature, constants = {}, {}
for place, one in enumerate(_joined.params):
    signature[one.name] = "constexpr" if one.is_constexpr else kinds[one.name]
    if one.is_constexpr:
        constants[place,] = fixed[one.name]
source = ASTSource(fn=_joined, signature=signature, constexprs=constants)
for capability in (80, 90, 100):
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert made.asm["cubin"]
    print(*(len(re.findall(width, made.asm["ptx"])) for width in ("[.]f32", "[.]f64")))
"""


def interpreted(probe: str, home: Path) -> list[list[float]]:
    return printed(probe, home, TRITON_INTERPRET="1")


def printed(probe: str, home: Path, **settings: str) -> list[list[float]]:
    """What it prints, by lines."""
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=Path(__file__).parents[2],
        env={"HOME": str(home), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def test_the_kernel_norms_rotates_and_joins_as_the_library_does(tmp_path: Path) -> None:
    *exact, (_, differing) = interpreted(KERNEL, tmp_path)

    assert len(exact) == 3
    assert max(distance for distance, _ in exact) < 1e-5
    assert differing < 0.01  # of 16 bits: it rounds where the library does


def test_the_kernel_is_code_for_cards_and_computes_in_32_bits(tmp_path: Path) -> None:
    """triton brings NVIDIA's assembler: what it takes can be seen without a card."""
    instructions = printed(CODE, tmp_path)

    assert len(instructions) == 3
    assert all(single > 0 and double == 0 for single, double in instructions)


def test_compiled_blocks_compute_with_our_kernels_what_they_did_before(tmp_path: Path) -> None:
    """On the CPU torch takes GELU itself, from which tanh's differs by 0.0005 at most."""
    distances = interpreted(TRANSFORMER, tmp_path)

    assert len(distances) == 2
    assert max(max(distances)) < 2e-3


def test_a_batch_is_not_silently_cut_to_its_first_picture() -> None:
    from worker.engine.diffusers.kernels import KernelRotary  # noqa: PLC0415

    tokens = torch.zeros(2, 4, 2, 32)
    stream = Stream(tokens, torch.nn.RMSNorm(32), torch.zeros(2, 4, 16))
    with pytest.raises(ValueError, match="one picture a pass, got 2"):
        KernelRotary.joined(stream, stream)


def feed_forward(activation: str, *, bias: bool = True) -> Any:  # noqa: ANN401 - untyped library
    torch.manual_seed(0)
    return FeedForward(16, activation_fn=activation, bias=bias).eval()


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


def test_a_product_of_another_activation_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is torch's own, by a name that it may change."""
    from worker.engine.diffusers.kernels import use_gelu_products  # noqa: PLC0415

    def relu(bias: torch.Tensor, *factors: torch.Tensor, use_gelu: bool) -> torch.Tensor:
        assert use_gelu
        return torch.addmm(bias, *factors).relu()

    monkeypatch.setattr(torch, "_addmm_activation", relu)
    layer = feed_forward("gelu-approximate").bfloat16()
    with pytest.raises(BadSettings, match="not the one that this engine compiles"):
        use_gelu_products(layer)


def test_a_c_compiler_that_fails_refuses_the_start_and_names_the_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """triton calls it before its first kernel: here, the probe's."""
    from worker.engine.diffusers import kernels  # noqa: PLC0415

    def no_headers(*_values: object, **_how: object) -> None:
        raise subprocess.CalledProcessError(1, ["gcc", "driver.c"])

    monkeypatch.setattr(kernels._joined, "run", no_headers)  # noqa: SLF001
    with pytest.raises(BadSettings, match=r"gcc.*exit status 1\.: set PACKSHOT_COMPILED=false"):
        compile_blocks(transformer(zero_cond_t=False), own_kernels=True)


@pytest.mark.parametrize(
    ("activation", "bias"),
    [
        ("gelu", True),
        ("geglu-approximate", True),
        ("linear-silu", True),
        ("gelu-approximate", False),
    ],
)
def test_another_activation_is_left_as_it_is(activation: str, *, bias: bool) -> None:
    from worker.engine.diffusers.kernels import use_gelu_products  # noqa: PLC0415

    layer = feed_forward(activation, bias=bias)
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
