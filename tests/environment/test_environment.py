"""The environment that was built is the environment that runs: packed, shipped, started, edited.

On the real pipeline classes and torch's CUDA build, by another user, from the one file that a host
gets, while what it was built in is gone.  In the order of a host's life.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from PIL import Image

from jobs.states import JobState
from tests.environment.host import Host, Step, mapped, state
from tests.machines import Document, Machines

pytestmark = pytest.mark.timeout(3600)

HOUR = timedelta(hours=1)
Trees = dict[str, dict[str, tuple[int, int, int]]]


@pytest.fixture(scope="module")
def trees(site: Machines, active: Document) -> Trees:
    """What was unpacked, as it was before anything was started."""
    return {kind: state(site.root / kind / active[kind]) for kind in ("env", "app", "model")}


@pytest.fixture(scope="module")
def worker(host: Host, active: Document, trees: Trees) -> Iterator[subprocess.Popen[bytes]]:
    """Of the first release."""
    assert trees
    with host.worker(active["digest"]) as process:
        yield process


def test_a_worker_of_the_packed_environment_edits_a_picture(
    worker: subprocess.Popen[bytes], host: Host, step: Step
) -> None:
    assert worker.poll() is None
    with step("one edit, from submit to the saved picture"):
        out = host.edit("change the background to white")

    with Image.open(out) as picture:
        assert min(picture.size) >= 64
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 16


def test_the_attempt_names_its_release(
    worker: subprocess.Popen[bytes], host: Host, active: Document
) -> None:
    assert worker.poll() is None
    (attempt,) = host.services.ledger.ended(within=HOUR)

    assert (attempt.outcome, attempt.release) == (JobState.SUCCEEDED, active["digest"])


def test_nothing_of_the_original_is_mapped(
    worker: subprocess.Popen[bytes], site: Machines, active: Document
) -> None:
    files = mapped(worker)
    tree = str(site.root / "env" / active["env"])

    assert f"{tree}/bin/python3.{sys.version_info.minor}" in files
    assert any("libtorch" in file for file in files)
    assert not {file for file in files if "python" in file and not file.startswith(tree)}
    assert not {file for file in files if file.startswith((f"{site.prefix.parent}/", sys.prefix))}
    if sys.base_prefix != "/usr":  # where the system's own libraries lie too
        assert not {file for file in files if file.startswith(sys.base_prefix)}


def test_nothing_was_written_into_a_tree(
    worker: subprocess.Popen[bytes], site: Machines, active: Document, trees: Trees
) -> None:
    assert worker.poll() is None
    for kind, before in trees.items():
        assert state(site.root / kind / active[kind]) == before
