"""What it ran on: a figure without it says nothing."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from worker.engine.diffusers.placement import GIB

PACKAGES: Final = ("torch", "triton", "diffusers", "transformers", "accelerate", "torchao")
_DRIVER: Final = Path("/proc/driver/nvidia/version")
_MEMORY: Final = Path("/proc/meminfo")
_SHARE: Final = Path("/sys/fs/cgroup/memory.max")


def device_here() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def facts(device: str) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor_name(),
        "memory_gib": round(torch.cuda.mem_get_info()[1] / GIB, 1) if device == "cuda" else None,
        "driver": _driver() if device == "cuda" else None,
        "cuda": torch.version.cuda if device == "cuda" else None,
        "host_gib_available": round(host_gib_available(), 1),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def host_gib_available() -> float:
    """Of the host's memory, or of the container's share; no limit where nothing says one."""
    left = [float("inf")]
    if _MEMORY.is_file():
        left.append(_numbers(_MEMORY)["MemAvailable:"] * 1024)
    if _SHARE.is_file() and (most := _SHARE.read_text(encoding="ascii").strip()) != "max":
        used = _numbers(_SHARE.with_name("memory.stat"))
        left.append(float(most) - used["anon"] - used["shmem"])
    return min(left) / GIB


def _numbers(file: Path) -> dict[str, int]:
    """The first number of each line, by the word before it."""
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines}


def _driver() -> str | None:
    return _DRIVER.read_text(encoding="utf-8").splitlines()[0] if _DRIVER.is_file() else None


def _processor_name() -> str:
    return f"CPU, {torch.get_num_threads()} threads"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
