"""What it ran on: a figure without it says nothing."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from worker.engine.diffusers import host
from worker.engine.diffusers.placement import GIB

PACKAGES: Final = ("torch", "triton", "diffusers", "transformers", "accelerate", "torchao")
_DRIVER: Final = Path("/proc/driver/nvidia/version")


def device_here() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def facts(device: str) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor_name(),
        "memory_gib": round(torch.cuda.mem_get_info()[1] / GIB, 1) if device == "cuda" else None,
        "driver": _driver() if device == "cuda" else None,
        "cuda": torch.version.cuda if device == "cuda" else None,
        "host_gib_available": round(host.gib_available(), 1),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _driver() -> str | None:
    return _DRIVER.read_text(encoding="utf-8").splitlines()[0] if _DRIVER.is_file() else None


def _processor_name() -> str:
    return f"CPU, threads: {torch.get_num_threads()}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
