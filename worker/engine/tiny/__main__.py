"""python -m worker.engine.tiny OUT_DIR [--seed N]: write a small checkpoint of random weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worker.engine.tiny",
        description="Write a small checkpoint of random weights, laid out as Qwen-Image-Edit-2509.",
    )
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    chosen = parser.parse_args()
    if chosen.folder.exists() and (not chosen.folder.is_dir() or any(chosen.folder.iterdir())):
        print(f"{chosen.folder}: is no empty folder; name a new one", file=sys.stderr)
        return 2
    from worker.engine.tiny.checkpoint import write_checkpoint  # noqa: PLC0415 - loads torch

    write_checkpoint(chosen.folder, seed=chosen.seed)
    print(f"{chosen.folder}: random weights, for tests of the code around them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
