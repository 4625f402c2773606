"""The command line over real servers, in this process and as one of its own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from jobs import model
from jobs.ids import new_job_id
from jobs.model import DEFAULT_MODEL, ServedModel, WorkerInfo
from jobs.postgres.ledger import PostgresLedger
from jobs.s3 import S3Store
from producer.cli.app import App
from producer.cli.commands import cli
from tests.services import fresh_database
from tests.unit.producer.shop import folder_of, photo

WORKER: Final = WorkerInfo(
    id=new_job_id(),
    holder="host/cpu:0/1",
    card="cpu:0",
    model=ServedModel(
        name=DEFAULT_MODEL, revision="r1", profile_group="default", profiles=("quality",)
    ),
)
CLOSED_PORT: Final = 1  # nobody listens there


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody at a shell whose environment names the servers."""

    ledger: PostgresLedger
    store: S3Store
    environment: Mapping[str, str]

    def run(self, *args: object) -> Result:
        words = [str(arg) for arg in args]
        return CliRunner(env=self.environment).invoke(cli, words, obj=App())

    def json(self, *args: object, code: int = 0) -> list[Any]:
        result = self.run(*args, "--json")
        assert result.exit_code == code, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def process(
        self,
        *args: object,
        stdin: bytes = b"",
        stdout: IO[bytes] | int = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """``python -m producer``."""
        return subprocess.run(
            [sys.executable, "-m", "producer", *(str(arg) for arg in args)],
            input=stdin,
            env={**_inherited(), **self.environment, **environment},
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )

    def complete_next(self) -> bytes:
        """A worker's part, done by hand."""
        lease = self.ledger.claim_next(WORKER)
        assert lease is not None
        data, key = photo("red"), model.output_key(lease)
        self.store.put(key, data, media_type="image/png")
        made = model.Result(
            key=key,
            sha256="a" * 64,
            bytes=len(data),
            media_type="image/png",
            width=64,
            height=48,
        )
        self.ledger.complete(lease, made, timings={})
        return data


def _inherited() -> dict[str, str]:
    own = os.environ.items()  # noqa: TID251 - a child's environment, not settings
    return {name: value for name, value in own if not name.startswith("PACKSHOT_")}


@pytest.fixture
def caller(ledger: PostgresLedger, database_url: str, redis_url: str, s3_url: str) -> Caller:
    store = S3Store.from_url(s3_url)
    store.make_bucket()
    ledger.register(WORKER)
    environment = {
        "PACKSHOT_DATABASE_URL": database_url,
        "PACKSHOT_REDIS_URL": redis_url,
        "PACKSHOT_S3_URL": s3_url,
    }
    return Caller(ledger=ledger, store=store, environment=environment)


def test_a_job_is_submitted_listed_asked_for_and_cancelled(caller: Caller, tmp_path: Path) -> None:
    folder_of(tmp_path, "杯子.png", "b.png")
    submitted = caller.json("submit", tmp_path, "-i", "把背景换成纯白色", "--batch", "spring")
    listed = caller.json("list", "--batch", "spring")
    asked = caller.json("status", *(one["id"] for one in submitted))
    cancelled = caller.json("cancel", "--batch", "spring")

    assert [one["image"] for one in submitted] == [f"{tmp_path}/b.png", f"{tmp_path}/杯子.png"]
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(submitted)]
    assert [one["state"] for one in asked] == ["queued", "queued"]
    assert [one["metadata"]["name"] for one in asked] == ["b.png", "杯子.png"]
    assert [one["state"] for one in cancelled] == ["cancelled", "cancelled"]


def test_a_picture_comes_back_through_the_bucket(caller: Caller, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", "mug.png")
    (job,) = caller.json("submit", tmp_path / "in", "-i", "make it red")
    data = caller.complete_next()
    (waited,) = caller.json("wait", job["id"], "-o", tmp_path / "red.png")
    moves = caller.json("history", job["id"])
    (report,) = caller.json("report", "--batch", job["batch"])

    assert (tmp_path / "red.png").read_bytes() == data
    assert waited["result"]["width"] == 64
    assert [one["to"] for one in moves] == ["queued", "running", "succeeded"]
    assert report["counts"]["succeeded"] == 1


def test_init_may_run_again(caller: Caller) -> None:
    first, second = caller.json("init"), caller.json("init")

    assert first == second
    assert set(first[0]) == {"revision", "ledger", "bucket"}


# ---- bad input


def bomb() -> bytes:
    """A PNG of a few bytes that declares 900 million pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(b"\0"), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def animation() -> bytes:
    file = BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


BAD: Final = {
    "animated.gif": (animation(), "the GIF file holds 2 frames"),
    "bomb.png": (bomb(), "30000×30000 pixels; at most 67.1 million pixels"),
    "long.png": (photo(size=(20_000, 10)), "20000×10 pixels; each side must be 16 to 16,384"),
    "text.png": (b"no picture", "not a picture in a supported format"),
    "tiny.png": (photo(size=(1, 1)), "1×1 pixels; each side must be 16 to 16,384"),
    "torn.jpg": (photo(size=(640, 480), kind="JPEG")[:-500], "truncated or damaged"),
}


def test_each_bad_file_is_named_with_its_limit_and_the_others_go_on(
    caller: Caller, tmp_path: Path
) -> None:
    folder_of(tmp_path, "good.png")
    for name, (data, _) in BAD.items():
        (tmp_path / name).write_bytes(data)
    answers = caller.json("submit", tmp_path, "-i", "make it red", code=2)
    errors = {Path(one["image"]).name: one["error"] for one in answers}

    assert errors.pop("good.png") is None
    assert set(errors) == set(BAD)
    for name, error in errors.items():
        assert error["code"] == "unusable_picture"
        assert error["message"].startswith(f"{tmp_path}/{name}: ")
        assert BAD[name][1] in error["message"]


def test_bad_rows_are_named_with_their_limit_and_the_others_go_on(
    caller: Caller, tmp_path: Path
) -> None:
    folder_of(tmp_path, "a.png")
    rows = [
        "image,image2,image3,instruction",
        "a.png,,,make it red",
        "a.png,,, ",
        f"a.png,,,{'长' * 100_000}",
    ]
    (tmp_path / "m.csv").write_text("\n".join(rows), "utf-8")
    result = caller.run("submit", "--manifest", tmp_path / "m.csv")

    assert result.exit_code == 2
    assert result.stdout.count("queued") == 1
    where = f"packshot: {tmp_path}/m.csv"
    assert result.stderr.splitlines()[1:] == [
        f"{where}:3: a.png: instruction: empty, and there is no -i for such rows",
        f"{where}:4: a.png: instruction: at most 2000 characters, got 100000",
        "packshot: 2 of 3 not accepted",
    ]


def test_four_pictures_are_refused_by_name(caller: Caller, tmp_path: Path) -> None:
    folder_of(tmp_path, *(f"{letter}.png" for letter in "abcd"))
    references = [f"--with={tmp_path}/{letter}.png" for letter in "bcd"]
    result = caller.run("submit", tmp_path / "a.png", *references, "-i", "x")

    assert result.exit_code == 2
    assert "pictures: 1 to 3, got 4" in result.stderr
    assert f"{tmp_path}/d.png" in result.stderr


def test_text_that_postgres_cannot_store_harms_no_other_row(caller: Caller, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    lines = [
        {"image": "a.png", "instruction": "one", "sku": "a\0b"},
        {"image": "a.png", "instruction": "two\ud800"},
        {"image": "a.png", "instruction": "three"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    answers = caller.json("submit", "--manifest", tmp_path / "m.jsonl", code=2)

    assert [one.get("state") for one in answers] == [None, None, "queued"]


# ---- as a process


def test_a_pipe_in_and_a_pipe_out(caller: Caller) -> None:
    submitted = caller.process("submit", "-", "-i", "make it red", stdin=photo())
    data = caller.complete_next()
    waited = caller.process("wait", "-", "-o", "-", stdin=submitted.stdout)

    assert submitted.returncode == 0
    assert waited.stdout == data


@pytest.mark.parametrize("command", ["list", "list --json", "report", "watch"])
def test_an_answer_that_nobody_reads_is_no_fault(caller: Caller, command: str) -> None:
    caller.process("submit", "-", "-i", "make it red", stdin=photo())
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = caller.process(*command.split(), stdout=closed)

    assert done.returncode == 141
    assert done.stderr == b""


def test_missing_settings_are_named_all_at_once(caller: Caller) -> None:
    names = [*caller.environment]
    done = Caller(ledger=caller.ledger, store=caller.store, environment={}).process("list")

    assert done.returncode == 3
    assert done.stderr.count(b"\n") == 1
    assert all(f"{name} is not set".encode() in done.stderr for name in names)


@pytest.mark.parametrize("command", ["submit", "list", "init", "watch"])
def test_a_ledger_that_is_away_is_one_line_that_says_where(caller: Caller, command: str) -> None:
    away = f"postgresql://packshot:secret@127.0.0.1:{CLOSED_PORT}/packshot"
    args = ["-", "-i", "make it red"] if command == "submit" else []
    done = caller.process(command, *args, stdin=photo(), PACKSHOT_DATABASE_URL=away)
    told = done.stderr.decode()

    assert done.returncode == 6
    assert told.startswith(f"packshot: Postgres at 127.0.0.1:{CLOSED_PORT}/packshot: ")
    assert told.count("\n") == 1
    assert "secret" not in told
    assert done.stdout == b""


def test_a_bucket_that_is_away_is_one_line_that_says_where(caller: Caller, tmp_path: Path) -> None:
    folder_of(tmp_path, *(f"{number}.png" for number in range(12)))
    away = f"http://key:secret@127.0.0.1:{CLOSED_PORT}/packshot"
    done = caller.process("submit", tmp_path, "-i", "make it red", PACKSHOT_S3_URL=away)
    told = done.stderr.decode()

    assert done.returncode == 6
    assert told.startswith(f"packshot: S3 at 127.0.0.1:{CLOSED_PORT}/packshot does not answer")
    assert told.count("\n") == 1


def test_redis_being_away_is_nobodys_business_at_submit(caller: Caller) -> None:
    away = f"redis://:secret@127.0.0.1:{CLOSED_PORT}/0"
    done = caller.process("submit", "-", "-i", "red", stdin=photo(), PACKSHOT_REDIS_URL=away)

    assert done.returncode == 0
    assert done.stderr.startswith(b"packshot: 1 job; to wait: ")
    assert done.stderr.count(b"\n") == 1


def test_a_ledger_without_tables_says_how_to_make_them(caller: Caller, postgres_url: str) -> None:
    with fresh_database(postgres_url) as url:
        done = caller.process("list", PACKSHOT_DATABASE_URL=url)

    assert done.returncode == 6
    assert b"lacks Packshot's tables: run 'packshot init'" in done.stderr
