"""The whole system as processes, through the command line only."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.model import queue_name
from standalone.servers import Servers
from standalone.settings import TINY_MODEL, child_environment
from tests.services import eventually
from worker.engine.tiny.samples import sample_products
from worker.engine.tiny.states import EditKind

pytestmark = pytest.mark.acceptance

START = timedelta(seconds=90)
PACKSHOT = (sys.executable, "-m", "producer")
WORKER = (sys.executable, "-m", "worker")


class Up:
    """``packshot up``, running."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "up.log"
        self.env_file = folder / "data" / "packshot.env"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*PACKSHOT, "up", "--data", str(folder / "data"), *arguments],
                env=child_environment({}),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return "Ctrl-C stops it" in self.log.read_text()

        eventually(is_up, within=START)

    def run(
        self, *arguments: str, program: Sequence[str] = PACKSHOT
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *arguments],
            env=child_environment({"PACKSHOT_ENV_FILE": str(self.env_file)}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=60)

    def end(self) -> None:
        self.stop()
        if self.process.poll() is None:
            self.process.kill()


def lines(text: str) -> Sequence[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acceptance")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Up]:
    """With the real pipeline classes, on the small checkpoint."""
    up = Up(folder)
    try:
        up.wait_until_up()
        yield up
    finally:
        up.end()
        Servers(folder / "data").erase()


def test_a_picture_comes_back_edited_in_the_size_and_format_asked_for(up: Up, folder: Path) -> None:
    sample = next(
        one for one in sample_products(12, seed=3) if one.edit.kind is EditKind.BACKGROUND
    )
    source = folder / "mug.png"
    sample.picture.resize((200, 200)).save(source)
    out = folder / "white.webp"

    done = up.run(
        *("submit", str(source), "-i", "change the background to white"),
        *("--size", "source", "--format", "webp", "-o", str(out)),
    )

    assert done.returncode == 0, done.stderr
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("WEBP", (200, 200))
        corner = np.asarray(picture.convert("RGB"))[:20, :20].mean()
    assert corner > 225  # white was asked for
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()


def test_the_same_work_is_the_same_job(up: Up, folder: Path) -> None:
    source = folder / "same.png"
    sample_products(1, seed=4)[0].picture.save(source)
    arguments = ("submit", str(source), "-i", "把背景换成蓝色", "--json")

    first, second = (lines(up.run(*arguments).stdout)[0] for _ in range(2))
    again = lines(up.run(*arguments, "--again").stdout)[0]

    assert first["id"] == second["id"]
    assert again["id"] != first["id"]


def test_a_bad_file_does_not_stop_the_others(up: Up, folder: Path) -> None:
    good, bad = folder / "good.png", folder / "bad.jpg"
    sample_products(1, seed=5)[0].picture.save(good)
    bad.write_bytes(b"not a picture")

    done = up.run("submit", str(bad), str(good), "-i", "make it red", "--wait", "--json")
    wrong, right = lines(done.stdout)

    assert done.returncode == 2
    assert "bad.jpg" in str(wrong["error"])
    assert right["state"] == "succeeded"
    assert "Traceback" not in done.stderr


def test_a_text_that_is_too_long_for_the_model_is_refused_at_submit(up: Up, folder: Path) -> None:
    source = folder / "long.png"
    sample_products(1, seed=6)[0].picture.save(source)

    done = up.run("submit", str(source), "-i", "z" * 2_000)  # one word: only a tokenizer knows

    assert done.returncode == 2
    assert "instruction: at most 955 tokens, got" in done.stderr


def test_the_api_and_flower_answer(up: Up) -> None:
    urls = dict(re.findall(r"(API|Flower)\s+(http://127\.0\.0\.1:\d+)", up.log.read_text()))

    for name, path in (("API", "readyz"), ("Flower", "healthcheck")):
        with urllib.request.urlopen(f"{urls[name]}/{path}", timeout=5) as answer:
            assert answer.status == 200


def test_flower_shows_the_queue_of_its_worker(up: Up) -> None:
    log = up.log.read_text()
    url, user, password = re.findall(r"Flower +(\S+)  \(user (\S+), password (\S+)\)", log)[0]
    login = b64encode(f"{user}:{password}".encode()).decode()
    asked = urllib.request.Request(
        f"{url}/api/queues/length", headers={"Authorization": f"Basic {login}"}
    )

    def queues() -> list[str]:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return [one["name"] for one in json.load(answer)["active_queues"]]

    eventually(lambda: queues() == [queue_name(TINY_MODEL, "default")])


def test_the_doctor_looks_at_what_its_workers_run_with(up: Up) -> None:
    done = up.run("doctor", "--json", program=WORKER)

    rows = json.loads(done.stdout)
    verdicts = {row["check"]: row["verdict"] for row in rows}
    assert verdicts["model"] == "fine", rows
    assert "problem" not in verdicts.values(), rows
    assert done.returncode == 0


def test_its_data_outlives_a_stop(up: Up, folder: Path) -> None:
    before = lines(up.run("list", "--json").stdout)
    assert up.stop() == 0

    again = Up(folder, "--engine", "fake")
    try:
        again.wait_until_up()
        after = lines(again.run("list", "--json").stdout)
    finally:
        again.end()

    assert [job["id"] for job in after] == [job["id"] for job in before]
