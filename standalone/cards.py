"""Which cards this machine has."""

from __future__ import annotations

import shutil
import subprocess


def found() -> list[str]:
    """UUIDs of the NVIDIA cards, or the CPU as the one card."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ["cpu:0"]
    asked = subprocess.run(  # noqa: S603 - a fixed query
        [tool, "--query-gpu=uuid", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    cards = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    return cards if asked.returncode == 0 and cards else ["cpu:0"]
