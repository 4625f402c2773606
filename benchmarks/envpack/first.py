"""The first job in an environment, by the same application whichever way it was brought there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.envpack import watch

_JOB: Final = Path(__file__).with_name("first_job.py")


def first_job(python: Path, application: Path) -> watch.Took:
    return watch.run(python, _JOB, also={"PYTHONPATH": str(application), "PYTHONNOUSERSITE": "1"})
