"""The doctor on real servers, each check made to find what it is there for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs.connect import Services, connect
from standalone.settings import child_environment
from tests.services import fresh_database, refused_port
from worker.doctor import host, services
from worker.doctor.findings import Row, Site, Verdict, exit_code, show
from worker.doctor.table import CHECKS, look
from worker.settings import WorkerSettings

FINE, WARNING, PROBLEM, SKIPPED = Verdict


@pytest.fixture(scope="module")
def ready(postgres_url: str, redis_url: str, s3_url: str) -> Iterator[dict[str, str]]:
    """Settings of servers with nothing wrong about them."""
    with fresh_database(postgres_url) as database_url:
        settings = {"database_url": database_url, "redis_url": redis_url, "s3_url": s3_url}
        connected = connect(settings_of(settings))
        connected.init()
        connected.close()
        yield settings


def settings_of(where: dict[str, str], **options: object) -> WorkerSettings:
    return WorkerSettings.model_validate({**where, "engine": "fake", **options})


@contextmanager
def site_of(where: dict[str, str], **options: object) -> Iterator[Site]:
    settings = settings_of(where, **options)
    connected: Services = connect(settings)
    try:
        yield Site(settings=settings, services=connected)
    finally:
        connected.close()


def rows_of(where: dict[str, str], **options: object) -> dict[str, Row]:
    with site_of(where, **options) as site:
        return {row.check: row for row in look(site)}


def verdicts(rows: dict[str, Row]) -> dict[str, Verdict]:
    return {name: row.finding.verdict for name, row in rows.items()}


def test_nothing_is_wrong_with_servers_that_are_well(ready: dict[str, str]) -> None:
    rows = rows_of(ready)

    found = verdicts(rows)
    assert [*found] == [check.name for check in CHECKS]
    assert {name for name, verdict in found.items() if verdict is not FINE} == {
        "card",
        "model",
        "engine",
    }
    assert exit_code([*rows.values()]) == 0


def test_the_probe_leaves_nothing_in_the_bucket(ready: dict[str, str]) -> None:
    with site_of(ready) as site:
        look(site)

        assert [*site.services.artifacts.keys("doctor/")] == []


# ---- Postgres


def test_a_postgres_that_is_away_is_told_and_the_others_are_looked_at(
    ready: dict[str, str],
) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "database_url": f"postgresql://u:p@127.0.0.1:{port}/packshot"})

    found = verdicts(rows)
    assert found["Postgres"] is PROBLEM
    assert "refused" in rows["Postgres"].finding.found
    assert "PACKSHOT_DATABASE_URL" in rows["Postgres"].finding.to_do
    assert {found[name] for name in ("Postgres version", "schema", "Postgres clock")} == {SKIPPED}
    assert {found[name] for name in ("Redis", "S3", "disk")} == {FINE}
    assert exit_code([*rows.values()]) == 6


def test_a_schema_that_is_behind_is_told_with_what_to_run(
    ready: dict[str, str], postgres_url: str
) -> None:
    with fresh_database(postgres_url) as empty:
        rows = rows_of({**ready, "database_url": empty})

    assert rows["schema"].finding.verdict is PROBLEM
    assert "packshot init" in rows["schema"].finding.to_do


def test_a_postgres_that_is_too_old_is_told(
    ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MIN_SERVER", 10_000_000)
    finding = rows_of(ready)["Postgres version"].finding

    assert finding.verdict is PROBLEM
    assert "or newer" in finding.to_do


@pytest.mark.parametrize(
    ("ahead", "verdict", "word"),
    [
        (timedelta(seconds=1), FINE, "within"),
        (timedelta(minutes=1), WARNING, "ahead of"),
        (timedelta(minutes=-1), WARNING, "behind"),
    ],
)
def test_a_clock_that_differs_from_postgres_is_told(
    ready: dict[str, str], ahead: timedelta, verdict: Verdict, word: str
) -> None:
    with site_of(ready) as site:
        skewed = Site(
            settings=site.settings, services=site.services, clock=lambda: datetime.now(UTC) + ahead
        )
        rows = {row.check: row.finding for row in look(skewed)}

    assert rows["Postgres clock"].verdict is verdict
    assert word in rows["Postgres clock"].found
    assert rows["S3 clock"].verdict is verdict


def test_a_clock_that_s3_refuses_is_a_problem(ready: dict[str, str]) -> None:
    with site_of(ready) as site:
        late = Site(
            settings=site.settings,
            services=site.services,
            clock=lambda: datetime.now(UTC) - timedelta(minutes=16),
        )
        rows = {row.check: row.finding for row in look(late)}

    assert rows["S3 clock"].verdict is PROBLEM
    assert "NTP" in rows["S3 clock"].to_do


# ---- Redis


@contextmanager
def configured(redis_url: str, name: str, value: str) -> Iterator[None]:
    with redis.Redis.from_url(redis_url) as client:
        before: Any = client.config_get(name)
        client.config_set(name, value)
        try:
            yield
        finally:
            client.config_set(name, before[name])


def test_a_redis_that_evicts_is_told(ready: dict[str, str]) -> None:
    with configured(ready["redis_url"], "maxmemory-policy", "allkeys-lru"):
        finding = rows_of(ready)["Redis eviction"].finding

    assert finding.verdict is PROBLEM
    assert "allkeys-lru" in finding.found
    assert "noeviction" in finding.to_do


def test_a_redis_without_persistence_is_a_warning(ready: dict[str, str]) -> None:
    with configured(ready["redis_url"], "appendonly", "no"):
        rows = rows_of(ready)

    assert rows["Redis persistence"].finding.verdict is WARNING
    assert exit_code([*rows.values()]) == 0


def test_a_redis_that_is_away_is_told(ready: dict[str, str]) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "redis_url": f"redis://:p@127.0.0.1:{port}/0"})

    found = verdicts(rows)
    assert found["Redis"] is PROBLEM
    assert {found["Redis eviction"], found["Redis persistence"]} == {SKIPPED}
    assert found["S3"] is FINE


# ---- S3


def test_an_s3_that_is_away_is_told_and_the_others_are_looked_at(ready: dict[str, str]) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "s3_url": f"http://key:secret@127.0.0.1:{port}/packshot"})

    found = verdicts(rows)
    assert (found["S3"], found["S3 rights"], found["S3 clock"]) == (PROBLEM, SKIPPED, WARNING)
    assert {found[name] for name in ("Postgres", "Redis", "disk")} == {FINE}


def test_a_bucket_that_is_not_there_is_told_with_what_to_run(ready: dict[str, str]) -> None:
    finding = rows_of({**ready, "s3_url": f"{ready['s3_url']}-gone"})["S3"].finding

    assert finding.verdict is PROBLEM
    assert "packshot init" in finding.to_do


@contextmanager
def read_only_bucket() -> Iterator[str]:
    """An S3 that shows a bucket to these keys, and lets them write nothing."""

    class Refusing(BaseHTTPRequestHandler):
        def _answer(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body) if self.command != "HEAD" else 0))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            is_bucket = self.path.strip("/") == "packshot"
            self._answer(200 if is_bucket else 404, "NoSuchKey")

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(403, "AccessDenied")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://key:secret@127.0.0.1:{server.server_port}/packshot"
    finally:
        server.shutdown()
        server.server_close()


def test_a_bucket_that_may_not_be_written_is_told_with_the_missing_right(
    ready: dict[str, str],
) -> None:
    with read_only_bucket() as url:
        rows = rows_of({**ready, "s3_url": url})

    finding = rows["S3 rights"].finding
    assert rows["S3"].finding.verdict is FINE
    assert finding.verdict is PROBLEM
    assert "may not write" in finding.found
    assert "AccessDenied" in finding.found
    assert "s3:PutObject" in finding.to_do


# ---- this machine


def weights() -> bytes:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """What stands in a folder of weights, with next to no weights."""
    parts = {"transformer": ["diffusers", "A"], "vae": ["diffusers", "B"]}
    index = {"_class_name": "QwenImageEditPlusPipeline", **parts}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in parts:
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
        (tmp_path / part / "model.safetensors").write_bytes(weights())
    return tmp_path


def model_finding(ready: dict[str, str], folder: Path | None, **options: object) -> Row:
    options = {"model": "qwen-image-edit-2509-tiny", "profiles": "", **options}
    return rows_of(ready, engine="diffusers", model_dir=folder, **options)["model"]


def test_a_folder_of_the_right_model_is_fine(ready: dict[str, str], model_dir: Path) -> None:
    assert model_finding(ready, model_dir).finding.verdict is FINE


def _cut_short(folder: Path) -> None:
    (folder / "vae" / "model.safetensors").write_bytes(weights()[:-1])


def _without_a_part(folder: Path) -> None:
    for file in (folder / "vae").iterdir():
        file.unlink()
    (folder / "vae").rmdir()


def _without_a_shard(folder: Path) -> None:
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / "vae" / "model.safetensors.index.json").write_text(json.dumps(index))


def _without_an_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_cut_short, "vae/model.safetensors is cut short"),
        (_without_a_part, "vae is missing"),
        (_without_a_shard, "vae/model-00001-of-00002.safetensors is missing"),
        (_without_an_index, "no model_index.json"),
    ],
)
def test_a_folder_that_is_not_whole_is_told(
    ready: dict[str, str], model_dir: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(model_dir)
    finding = model_finding(ready, model_dir).finding

    assert finding.verdict is PROBLEM
    assert told in finding.found


def test_a_folder_of_another_model_is_told(ready: dict[str, str], model_dir: Path) -> None:
    other = model_finding(ready, model_dir, model="flux.2-klein-4b").finding
    sibling = model_finding(ready, model_dir, model="qwen-image-edit-2511").finding
    unknown = model_finding(ready, model_dir, model="dall-e").finding
    unset = model_finding(ready, None).finding

    assert {one.verdict for one in (other, sibling, unknown, unset)} == {PROBLEM}
    assert "Flux2KleinPipeline" in other.found
    assert "zero_cond_t" in sibling.found
    assert "PACKSHOT_MODEL_DIR" in unset.found


def a_card(folder: Path, *, says: str, ends: int) -> str:
    """A PATH on which ``nvidia-smi`` says so."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {ends}\n")
    program.chmod(0o755)
    return f"{folder}:/bin:/usr/bin"


def test_a_card_that_answers_is_fine(
    ready: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "NVIDIA H100, 570.1, 80000 MiB, 81559 MiB"
    monkeypatch.setenv("PATH", a_card(tmp_path, says=says, ends=0))
    finding = rows_of(ready, card="0")["card"].finding

    assert (finding.verdict, finding.found) == (FINE, says)


def test_a_card_that_is_not_there_is_told(
    ready: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", a_card(tmp_path, says="No devices were found", ends=6))
    finding = rows_of(ready, card="7")["card"].finding

    assert finding.verdict is PROBLEM
    assert finding.found == "card 7: No devices were found"


def test_a_card_of_no_known_form_is_told(ready: dict[str, str]) -> None:
    assert rows_of(ready, card="the big one")["card"].finding.verdict is PROBLEM


def test_a_disk_that_is_full_is_told(
    ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LEAST_DISK", 2**70)
    row = rows_of(ready)["disk"]

    assert row.finding.verdict is PROBLEM
    assert row.exit_code == 3


# ---- the command


def told(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "doctor", *options],
        env=child_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_lines_or_json_and_says_by_its_code(ready: dict[str, str]) -> None:
    environment = {f"PACKSHOT_{name.upper()}": value for name, value in ready.items()}
    environment |= {"PACKSHOT_ENGINE": "fake"}

    lines, listed = told(environment, "--deep"), told(environment, "--json")
    without_settings = told({})

    assert (lines.returncode, listed.returncode, without_settings.returncode) == (0, 0, 3)
    assert "engine\tfine\tfake fake-1 on cpu:0" in lines.stdout
    assert json.loads(listed.stdout)[0] == {
        "check": "settings",
        "verdict": "fine",
        "found": "complete",
        "to_do": "",
    }
    assert "PACKSHOT_DATABASE_URL is not set" in without_settings.stdout


def test_a_look_at_the_surface_loads_no_torch() -> None:
    probe = "import worker.doctor.table, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "False"


def test_a_check_is_a_line(ready: dict[str, str]) -> None:
    rows = [*rows_of(ready).values()]

    assert len(show(rows, as_json=False).splitlines()) == len(CHECKS)
