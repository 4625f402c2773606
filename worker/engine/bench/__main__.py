"""``python3 -m worker.engine.bench``: see ``cli`` for what it takes."""

from __future__ import annotations

import importlib
import sys

from worker.engine.bench.carried import add_carried, missing

if __name__ == "__main__":
    add_carried()
    if lacking := missing():
        sys.exit(
            f"the bench needs {', '.join(lacking)}: install them, or put wheels of them into"
            " build/wheels/"
        )
    sys.exit(importlib.import_module("worker.engine.bench.cli").main(sys.argv[1:]))
