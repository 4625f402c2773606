"""Pictures of strangers: each file is a picture or a clear refusal, at both doors."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from jobs.errors import FailureClass, UnusablePicture
from jobs.ledger import Submitted
from jobs.model import EditRequest, Job, NewJob, input_key
from jobs.states import JobState
from producer import Edit, Picture
from tests.faults.scene import Scene
from tests.poison import Poison, corpus

#: Of processor time, for one file; a busy machine takes longer, and its clock proves nothing.
HANG: Final = 5.0
#: What decoding may add to a process.  The largest picture that we take is 192 MiB of RGB.
MEMORY: Final = 600
#: The same for a worker, which holds a few jobs at once and edits them: MiB altogether.
WORKER_MEMORY: Final = 1_500
SOON: Final = timedelta(seconds=150)
TENANT: Final = "default"


@pytest.fixture(scope="module")
def poisons() -> list[Poison]:
    return corpus()


def test_the_corpus_is_large_and_the_same_each_time(poisons: list[Poison]) -> None:
    assert len(poisons) >= 300
    again = [hashlib.sha256(one.data).hexdigest() for one in corpus()]
    assert again == [hashlib.sha256(one.data).hexdigest() for one in poisons]


def test_no_file_crashes_hangs_or_swells_the_process_that_decodes_it(
    poisons: list[Poison],
) -> None:
    eater = subprocess.run(
        [sys.executable, "-m", "tests.poison"], capture_output=True, timeout=170, check=False
    )
    meals = [json.loads(line) for line in eater.stdout.splitlines()]

    assert eater.returncode == 0, f"ended at {meals[-1:]}"
    assert [meal["name"] for meal in meals] == [one.name for one in poisons]
    assert [meal for meal in meals if meal["came_of_it"].startswith("CRASH")] == []
    assert [meal for meal in meals if meal["cpu_s"] > HANG] == []
    assert meals[-1]["grown_by_mib"] < MEMORY


def test_submit_takes_each_file_or_names_what_is_wrong_with_it(
    scene: Scene, poisons: list[Poison]
) -> None:
    outcomes = scene.client.submit_many(
        [
            Edit(
                pictures=[Picture(name=one.name, data=one.data)],
                instruction="make it red",
                wait_for_model=True,
            )
            for one in poisons
        ]
    )

    refused = [
        (one.name, outcome)
        for one, outcome in zip(poisons, outcomes, strict=True)
        if not isinstance(outcome, Submitted)
    ]
    assert {type(outcome) for _, outcome in refused} == {UnusablePicture}
    assert [name for name, outcome in refused if not str(outcome).startswith(f"{name}: ")] == []
    assert len(refused) > 200


def past_the_producer(scene: Scene, poisons: Sequence[Poison]) -> list[Job]:
    """Jobs of files that nobody looked at, as a hostile producer would make them."""
    ledger, new = scene.services.ledger, []
    for one in poisons:
        digest = hashlib.sha256(one.data).hexdigest()
        key = input_key(TENANT, digest)
        scene.services.artifacts.put(key, one.data, media_type="image/png")
        ledger.record_input(TENANT, digest, size=len(one.data), media_type="image/png")
        request = EditRequest(pictures=(digest,), instruction="make it red", model="fake")
        new.append(NewJob(request=request, idempotency_key=one.name, tenant=TENANT))
    outcomes = ledger.submit(new)
    assert all(isinstance(one, Submitted) for one in outcomes)
    return [one.job for one in outcomes if isinstance(one, Submitted)]


def peak_memory(pid: int) -> int:
    """MiB; proc(5)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_worker_that_is_fed_poison_serves_the_next_job(
    scene: Scene, poisons: list[Poison]
) -> None:
    worker = scene.worker(steps=1)
    jobs = past_the_producer(scene, [one for one in poisons if one.data and not one.is_large])

    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)
    after = scene.client.wait(scene.submit("the next one").id, timeout=SOON)

    assert worker.process.poll() is None
    assert after.state is JobState.SUCCEEDED
    assert {job.state for job in done} == {JobState.SUCCEEDED, JobState.FAILED}
    failures = [job.failure for job in done if job.failure is not None]
    assert {(one.failure_class, one.code) for one in failures} == {
        (FailureClass.PERMANENT, "unusable_picture")
    }
    assert {job.attempt for job in done} == {1}
    assert peak_memory(worker.process.pid) < WORKER_MEMORY
