"""What the card's exceptions mean for an attempt.

out of memory, card or host   OutOfResources: the card goes on
any other error of CUDA       WorkerFatal: the context is lost, only a new process helps
anything else                 as it was raised
"""

from __future__ import annotations

from typing import Final

import torch

from jobs.errors import AttemptFailed, OutOfResources, WorkerFatal

#: How torch words a failed allocation where it has no class for it: on the CPU, and inside
#: the CUDA libraries.
_MEMORY_WORDS: Final = ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
_CUDA_WORDS: Final = (
    "CUDA error",
    "CUDA driver error",
    "Triton Error [CUDA]",  # compiled code has a launcher of its own
    "cuDNN error",
    "CUDNN_STATUS",
    "NCCL error",
)


def failure_of(error: Exception) -> AttemptFailed | None:
    """The class of an engine's exception; ``None``: not the card's fault."""
    text = _first_line(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return OutOfResources(f"out of memory: {text}")
    if not isinstance(error, RuntimeError):
        return None
    if any(words in str(error) for words in _MEMORY_WORDS):
        return OutOfResources(f"out of memory: {text}")
    if isinstance(error, torch.AcceleratorError) or any(words in text for words in _CUDA_WORDS):
        return WorkerFatal(f"the card is lost: {text}")
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
