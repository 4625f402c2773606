"""What the one-machine system takes from the environment, and hands to its processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Weights that a checkout carries, so that ``up`` and ``demo`` edit without a download.
TINY_MODEL_DIR: Final = Path(__file__).parent.parent / "models" / "tiny"
TINY_MODEL: Final = "qwen-image-edit-2509-tiny"
DATA_DIR: Final = Path(".packshot")


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without any ``PACKSHOT_…`` of the caller's shell, and with ``settings``."""
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - this is the settings module
        if not name.startswith("PACKSHOT_")
    }
    return {**inherited, **settings}
