"""Compiled blocks: compiled at start for all lengths of sequence, and never under a job.

One compilation for all lengths, not one for each bucket of them.  A request has a length of
text for its instruction and another for its negative prompt, so that buckets would need
padding, hence masks, hence slower attention and other pixels.  What depends on the length is
matrix products and attention, which are library calls either way; the code that is generated
here is arithmetic on single values, which gains next to nothing from knowing it.

The compiler may still find a length that its code does not cover, and would then compile for a
minute while the job waits.  So warm-up shows it the corners of what may be asked for (each
number of pictures, the smallest and the largest area), and after that nothing is compiled:
what is not covered runs uncompiled, with the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import Any, Final

import torch

from worker.engine.diffusers.exact import use_real_rotary
from worker.engine.diffusers.faults import failure_of
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.offer import cannot_compile

#: Layers whose output the first block takes.  Torch may hand it out as a view of another
#: tensor, as no later block's input is, and would compile the same code twice.
_ENTRANCES: Final = ("img_in", "txt_in")


#: torch's name for it; graphs of CUDA would hold one length of sequence each
AUTOTUNED: Final = "max-autotune-no-cudagraphs"


def compile_blocks(
    transformer: Any,  # noqa: ANN401 - untyped library
    *,
    backend: Any = "inductor",  # noqa: ANN401 - torch's
    autotuned: bool = False,
    own_kernels: bool = False,
) -> None:
    """Compile the block that repeats; ``backend`` is one of torch's, by name or as a function.

    ``own_kernels``: with those of ``kernels``, which need a CUDA card.  Nothing is compiled before
    the first pass, but for a probe of those.  Raises ``BadSettings`` as ``use_real_rotary``, and
    where the compiler fails.
    """
    if own_kernels:
        from worker.engine.diffusers import kernels  # noqa: PLC0415 - needs triton

        with all_is_compiled():  # a probe runs our kernel, the first thing to need a C compiler
            use_real_rotary(transformer, kernels.KernelRotary)
        kernels.use_gelu_products(transformer)
    else:
        use_real_rotary(transformer)
    for name in _ENTRANCES:
        entrance = getattr(transformer, name, None)
        if entrance is not None:
            entrance.register_forward_hook(_owning)
    mode = {"mode": AUTOTUNED} if autotuned else {}
    transformer.compile_repeated_blocks(dynamic=True, backend=backend, **mode)


def is_compiled(transformer: Any) -> bool:  # noqa: ANN401
    """Whether any of its parts runs compiled code."""
    return any(
        getattr(part, "_compiled_call_impl", None) is not None for part in transformer.modules()
    )


def _owning(_layer: object, _arguments: object, tokens: torch.Tensor) -> torch.Tensor:
    return tokens.clone()


@contextmanager
def nothing_is_compiled() -> Iterator[None]:
    """Run compiled code where it fits, and the rest as it was written."""
    with torch.compiler.set_stance("eager_on_recompile"):
        yield


@contextmanager
def all_is_compiled() -> Iterator[None]:
    """Raises ``BadSettings`` where the compiler fails, other than for lack of memory."""
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415 - not before something is

    try:
        yield
    except (TorchDynamoException, CalledProcessError) as error:
        if failure_of(error) is not None:
            raise
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise cannot_compile(f"the blocks cannot be compiled: {' '.join(lines[:2])}") from error


def graphs_compiled() -> int:
    """By this process so far: one, unless the compiler has broken the block up, or took it anew."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - as above

    return counters["stats"]["unique_graphs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What decides the length of the transformer's sequence, texts apart."""

    pictures: int
    size: str  #: of the output, as a request says it


def shapes_to_warm(row: ModelRow, *, compiled: bool) -> tuple[Shape, ...]:
    """The usual one; for compiled blocks also the corners."""
    if not compiled:
        return (Shape(pictures=1, size="auto"),)
    counts = [Shape(pictures=count, size="auto") for count in range(1, row.max_pictures + 1)]
    areas = [area for area in (row.min_area, row.max_area) if area != row.vae_area]
    return (*counts, *(Shape(pictures=1, size=_square(area)) for area in areas))


def _square(area: int) -> str:
    side = math.isqrt(area)
    return f"{side}x{side}"
