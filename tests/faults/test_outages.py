"""Promise 1 for the other two servers: their absence costs time, and no job anything else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

from jobs.model import Job
from jobs.states import JobState
from tests.faults.proxy import Mode, Proxy
from tests.faults.scene import SHORT_LEASE, Scene
from tests.services import eventually

SOON = timedelta(seconds=60)


@contextmanager
def without_ledger(scene: Scene) -> Iterator[None]:
    scene.servers.postgres.kill()
    try:
        yield
    finally:
        scene.servers.postgres.start()


@contextmanager
def without_bucket(scene: Scene) -> Iterator[None]:
    scene.servers.s3.kill()
    try:
        yield
    finally:
        scene.servers.s3.start()


def unharmed(job: Job) -> bool:
    return (job.state, job.attempt, job.failures) == (JobState.SUCCEEDED, 1, 0)


def test_a_job_on_the_card_outlives_an_outage_of_the_ledger_longer_than_its_lease(
    scene: Scene,
) -> None:
    workers = [scene.worker(steps=60, step_seconds=0.1, lease=SHORT_LEASE) for _ in range(2)]
    job = scene.submit("keep calm")  # the other would take it, were its lease ended
    scene.eventually_running(job.id)

    with without_ledger(scene):
        for worker in workers:
            eventually(lambda log=worker.log: b"ledger_away" in log.read_bytes())  # type: ignore[misc]
        Event().wait(SHORT_LEASE.total_seconds() + 1)  # the fault itself takes this long

    assert unharmed(scene.client.wait(job.id, timeout=SOON))


def test_a_cancel_does_not_wait_for_a_bucket_that_says_nothing(scene: Scene) -> None:
    """Links are open and nothing comes back: the call itself would last half a minute."""
    with Proxy(scene.servers.s3.port) as proxy:
        scene.environment["PACKSHOT_S3_URL"] = proxy.url(scene.servers.s3.url)
        scene.worker()
        scene.client.wait(scene.submit("the picture is stored now").id, timeout=SOON)
        proxy.half_open()
        proxy.mode = Mode.BLACKHOLE
        job = scene.submit("into a hole")
        eventually(lambda: scene.client.status(job.id).state is JobState.RUNNING)

        scene.client.cancel(job.id)

        eventually(
            lambda: scene.client.status(job.id).state is JobState.CANCELLED,
            within=timedelta(seconds=15),
        )


def test_a_worker_without_a_job_tells_too_that_the_bucket_is_back(scene: Scene) -> None:
    worker = scene.worker()
    scene.client.wait(scene.submit("the picture is stored now").id, timeout=SOON)
    with without_bucket(scene):
        job = scene.submit("away")
        eventually(lambda: b"store_away" in worker.log.read_bytes(), within=SOON)
        scene.client.cancel(job.id)
        eventually(lambda: scene.client.status(job.id).state is JobState.CANCELLED, within=SOON)

    eventually(lambda: b"store_back" in worker.log.read_bytes(), within=SOON)


def test_an_outage_of_the_ledger_at_the_end_of_a_start_costs_no_load(scene: Scene) -> None:
    with Proxy(scene.servers.postgres.port) as proxy, ThreadPoolExecutor(1) as pool:
        scene.environment["PACKSHOT_DATABASE_URL"] = proxy.url(
            scene.environment["PACKSHOT_DATABASE_URL"]
        )
        proxy.held_back = b"INSERT INTO model"  # loaded, and about to show itself
        starting = pool.submit(scene.worker)
        eventually(proxy.is_holding.is_set, within=SOON)
        proxy.mode = Mode.CUT
        proxy.held_back = b""
        log = scene.workers[0].log
        eventually(lambda: b"waiting_for_the_ledger" in log.read_bytes())
        proxy.mode = Mode.PASS
        worker = starting.result()

        assert worker.log.read_bytes().count(b"worker_starting") == 1
        assert unharmed(scene.client.wait(scene.submit("and now").id, timeout=SOON))


def test_a_ledger_that_has_never_heard_of_a_worker_hears_of_it_again(scene: Scene) -> None:
    """As one that was restored from a backup."""
    scene.worker()
    ledger = scene.services.ledger
    (before,) = ledger.live_workers()
    with scene.services.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM worker")
        connection.exec_driver_sql("DELETE FROM model")

    eventually(lambda: list(ledger.live_workers()) == [before])


def test_jobs_wait_for_a_bucket_that_is_away(scene: Scene) -> None:
    scene.worker(step_seconds=0.05)
    scene.client.wait(scene.submit("the picture is stored now").id, timeout=SOON)

    with without_bucket(scene):
        jobs = [scene.submit(f"carry on {number}") for number in range(3)]
        eventually(lambda: scene.client.status(jobs[0].id).state is JobState.RUNNING)

    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)
    assert all(map(unharmed, done))
