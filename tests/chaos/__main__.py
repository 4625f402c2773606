"""``make chaos``: real processes, random faults, and a table that must show four zeros."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tests.chaos import skew, table
from tests.chaos.plan import Plan, schedule
from tests.chaos.run import run

ROOT = Path(__file__).parents[2]
SEED = 3
SHORT_LEASE = 2.0  # seconds
RATE = 2_000 / 60  # jobs a second


def main() -> int:
    options = _options()
    jobs = options.jobs or round(options.seconds * RATE)
    plan = Plan(seed=options.seed, seconds=options.seconds, lease=options.lease, jobs=jobs)
    faults = schedule(plan)
    say(f"seed {plan.seed}, {plan.seconds:g} s, lease {plan.lease:g} s, {plan.jobs} jobs,"
        f" {len(faults)} faults")  # fmt: skip
    folder = options.folder or Path(tempfile.mkdtemp(prefix="packshot-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    verdict = run(plan, folder, say)
    counts = {
        **verdict.counts,
        "seed": plan.seed,
        "seconds": plan.seconds,
        "lease_s": plan.lease,
        "workers": plan.workers,
        "producers": plan.producers,
        "skewed_clock": skew.SKEW if skew.library() else None,
        "commit": _commit(),
        "took_s": round(monotonic() - began, 1),
    }
    table.save(options.json, counts)
    for line in table.lines(counts, verdict.violations):
        say(line)
    if verdict.violations:
        say(f"journals and logs: {folder}")
    return 1 if verdict.violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed, the same faults")
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults")
    parser.add_argument("--lease", type=float, default=SHORT_LEASE, help="seconds")
    parser.add_argument("--jobs", type=int, default=0, help="default: 2,000 a minute")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench" / "chaos.json")
    parser.add_argument("--folder", type=Path, help="for logs and journals")
    return parser.parse_args()


def _commit() -> str | None:
    try:
        told = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
