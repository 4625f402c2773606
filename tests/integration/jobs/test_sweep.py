"""A sweep over Postgres and S3, with submits in its way."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from jobs.model import ArtifactKey, input_key
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.retention import PostgresRetention
from jobs.s3 import S3Store
from jobs.sweep import Policy, Sweep
from jobs.testing import RecordingDispatcher
from producer.client import Client
from producer.edits import Edit
from producer.inputs import Picture
from tests.conformance.scenes import MODEL, WORKER, at_once, claimed, failed, new, submitted
from tests.services import eventually, let_pass_in
from worker.cli import cli

DAY = timedelta(days=1)
POLICY = Policy(keep_jobs=90 * DAY, keep_inputs=30 * DAY, orphan_age=DAY)


@pytest.fixture
def bucket_url(s3_url: str) -> str:
    """A bucket of these tests' own: they empty it."""
    return f"{s3_url}-sweep"


@pytest.fixture
def store(bucket_url: str) -> Iterator[S3Store]:
    store = S3Store.from_url(bucket_url)
    store.make_bucket()
    store.delete([*store.keys("")])
    yield store
    store.delete([*store.keys("")])


@pytest.fixture
def client(ledger: PostgresLedger, store: S3Store) -> Iterator[Client]:
    ledger.register(WORKER)
    with Client(
        ledger=ledger, artifacts=store, dispatcher=RecordingDispatcher(), model=MODEL.name
    ) as client:
        yield client


def sweep(ledger: PostgresLedger, store: S3Store) -> Sweep:
    """Two days from now, as the bucket sees it."""
    return Sweep(
        ledger=ledger,
        retention=PostgresRetention(ledger.database),
        artifacts=store,
        policy=POLICY,
        clock=lambda: datetime.now(UTC) + 2 * DAY,
    )


def edit(word: str = "red") -> Edit:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "white").save(file, "PNG")
    return Edit(pictures=[Picture(name="white.png", data=file.getvalue())], instruction=word)


class Slow:
    """Deletes when it is told to."""

    def __init__(self, store: S3Store) -> None:
        self.store = store
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, keys: Sequence[ArtifactKey]) -> None:
        self.reached.set()
        assert self.go_on.wait(10)
        self.store.delete(keys)


def waiting(ledger: PostgresLedger) -> int:
    statement = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ledger.database.connect() as connection:
        return int(connection.execute(statement).scalar_one())


def test_an_input_that_a_submit_counts_on_is_there_whatever_a_sweep_does(
    client: Client, ledger: PostgresLedger, store: S3Store
) -> None:
    """The submit comes while the sweep has its hands on the input, and waits for it."""
    job = client.submit(edit())
    (digest,) = job.request.pictures
    ledger.cancel(job.id, who="ann")
    let_pass_in(ledger.database, 31 * DAY)
    slow, retention = Slow(store), PostgresRetention(ledger.database)
    with (
        ThreadPoolExecutor(2) as pool,
        Client(
            ledger=ledger, artifacts=store, dispatcher=RecordingDispatcher(), model=MODEL.name
        ) as other,
    ):
        swept = pool.submit(retention.remove_inputs, 30 * DAY, limit=10, delete=slow)
        assert slow.reached.wait(10)
        submitted_meanwhile = pool.submit(other.submit, edit("blue"))
        eventually(lambda: waiting(ledger) == 1)
        slow.go_on.set()

        assert [one.sha256 for one in swept.result(10)] == [digest]
        assert submitted_meanwhile.result(10).request.pictures == (digest,)

    assert store.exists(input_key(job.tenant, digest))
    assert ledger.touch_inputs(job.tenant, [digest]) == {digest}


def test_an_input_that_a_submit_has_just_touched_is_not_swept(
    client: Client, ledger: PostgresLedger
) -> None:
    """The touch is not committed yet when the sweep looks."""
    job = client.submit(edit())
    ledger.cancel(job.id, who="ann")
    let_pass_in(ledger.database, 31 * DAY)
    with ledger.database.begin() as held:
        held.execute(text("UPDATE input SET used_at = now()"))
        gone = PostgresRetention(ledger.database).remove_inputs(
            30 * DAY, limit=10, delete=lambda _keys: pytest.fail("deleted")
        )

    assert list(gone) == []


def test_sweeps_from_several_hosts_remove_each_thing_once(
    client: Client, ledger: PostgresLedger, store: S3Store
) -> None:
    for number in range(6):
        failed(ledger, new(str(number)))
    stale = claimed(ledger, submitted(ledger))
    orphan = ArtifactKey(f"default/outputs/{stale.job.id}/1.png")
    store.put(orphan, b"pixels", media_type="image/png")
    ledger.hand_back(stale, why="drain")
    ledger.cancel(stale.job.id, who="ann")
    ledger.cancel(client.submit(edit()).id, who="ann")
    let_pass_in(ledger.database, 91 * DAY)

    found = at_once([sweep(ledger, store).act] * 3)

    totals = [{one.kind: one.count for one in some} for some in found]
    assert sum(one["jobs"] for one in totals) == 8
    assert sum(one["inputs"] for one in totals) == 1
    assert [*store.keys("")] == []


def test_the_audit_is_deleted_by_retention_alone(ledger: PostgresLedger) -> None:
    ledger.register(WORKER)
    dead = failed(ledger)

    for statement in ("DELETE FROM move", "DELETE FROM job", "TRUNCATE move"):
        with (
            pytest.raises(IntegrityError, match="audit"),
            ledger.database.begin() as connection,
        ):
            connection.execute(text(statement))

    assert len(ledger.history(dead.id)) == 3


def test_the_command_looks_first_and_removes_when_told(
    ledger: PostgresLedger, store: S3Store, database_url: str, redis_url: str, bucket_url: str
) -> None:
    ledger.register(WORKER)
    failed(ledger)
    let_pass_in(ledger.database, 3 * DAY)
    environment = {
        "PACKSHOT_DATABASE_URL": database_url,
        "PACKSHOT_REDIS_URL": redis_url,
        "PACKSHOT_S3_URL": bucket_url,
        "PACKSHOT_KEEP_JOBS": "2d",
    }

    def run(*args: str) -> str:
        result = CliRunner(env=environment).invoke(cli, ["sweep", *args])
        assert result.exit_code == 0, result.output
        return result.stdout

    looked, told = json.loads(run("--json")), run()
    removed = json.loads(run("--delete", "--json"))

    jobs = {"kind": "jobs", "count": 1, "bytes": None, "partial": False}
    assert (looked["deleted"], removed["deleted"]) == (False, True)
    assert jobs in looked["kinds"]
    assert looked["kinds"] == removed["kinds"]
    assert "nothing was changed" in told
    assert store.exists(ArtifactKey("none")) is False
