"""A card that is not there is a setting that is wrong, not a fault of ours."""

from __future__ import annotations

import subprocess
import sys

import pytest

from standalone.settings import TINY_MODEL, TINY_MODEL_DIR, child_environment

pytestmark = pytest.mark.engine

#: In a process of its own: a card is chosen before torch is imported.
LOAD = """
from worker.bootstrap import load_engine
from worker.settings import WorkerSettings
from jobs.errors import BadSettings
try:
    load_engine(WorkerSettings.load())
except BadSettings as error:
    print(error)
"""


def test_a_card_that_is_not_there_is_named_in_one_line() -> None:
    settings = {
        "PACKSHOT_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c",
        "PACKSHOT_REDIS_URL": "redis://127.0.0.1:1/0",
        "PACKSHOT_S3_URL": "http://a:b@127.0.0.1:1/c",
        "PACKSHOT_CARD": "99",
        "PACKSHOT_MODEL": TINY_MODEL,
        "PACKSHOT_MODEL_DIR": str(TINY_MODEL_DIR),
    }

    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("card 99: ")
    assert done.stdout.count("\n") == 1
