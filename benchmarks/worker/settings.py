"""What a worker of a run is told beside ``PACKSHOT_…``."""

from __future__ import annotations

import os
from pathlib import Path

#: Seconds of an edit, and where to write what was measured.
CARD_SECONDS: float = float(os.environ.get("BENCH_CARD_SECONDS", "0"))  # noqa: TID251 - settings
RECORD: Path = Path(os.environ.get("BENCH_RECORD", ""))  # noqa: TID251 - as above
