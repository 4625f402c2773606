"""The short run, from the seed to the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.plan import Kind
from tests.chaos.table import SHOWN

ROOT = Path(__file__).parents[2]
#: Shorter than ``make chaos``; each kind of fault comes all the same.
SECONDS = 45


@pytest.mark.acceptance
@pytest.mark.timeout(500)  # most of it after the faults, where a busy machine is slow to be quiet
def test_under_random_faults_nothing_is_lost_doubled_changed_or_stuck(tmp_path: Path) -> None:
    report = ROOT / "build" / "bench" / "chaos.json"
    options = ["--seconds", str(SECONDS), "--jobs", "2000", "--json", str(report)]

    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options, "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = json.loads(report.read_text()) if done.returncode in {0, 1} else {}

    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    assert {counts[name] for name in ("lost", "doubled", "changed", "stuck")} == {0}
    assert set(SHOWN) <= counts.keys()
    assert counts["acknowledged"] >= counts["submitted"] >= 2_000
    assert counts["orders_refused"] == 0
    assert counts["faults"].keys() == {kind.value for kind in Kind}
