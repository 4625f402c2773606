"""Which cards there are, as the tool tells that comes with every driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from worker.supervisor.inventory import Gpu, pci_folder

PATIENCE: Final = 30.0  # seconds; a driver that must be loaded first takes some


def gpus() -> Sequence[Gpu]:
    """None without the tool, or if it fails: then there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = (tool, "--query-gpu=index,uuid,pci.bus_id", "--format=csv,noheader")
    try:
        asked = subprocess.run(  # noqa: S603 - a fixed query
            query, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read(asked.stdout) if asked.returncode == 0 else []


def read(answer: str) -> Sequence[Gpu]:
    """``0, GPU-…, 00000000:65:00.0``, a line for each."""
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line]
    return [
        Gpu(index=int(index), uuid=uuid, bus_id=pci_folder(bus_id)) for index, uuid, bus_id in rows
    ]
