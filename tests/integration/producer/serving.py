"""An API as a process, and a caller of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, Final

import httpx
from PIL import Image

from jobs.ids import new_job_id
from jobs.model import (
    DEFAULT_MODEL,
    ServedModel,
    WorkerInfo,
)

WORKER: Final = WorkerInfo(
    id=new_job_id(),
    holder="host/cpu:0/1",
    card="cpu:0",
    model=ServedModel(
        name=DEFAULT_MODEL, revision="r1", profile_group="default", profiles=("quality",)
    ),
)


def photo(size: tuple[int, int] = (64, 48), picture_format: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "white").save(file, picture_format)
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running API, and a caller of it."""

    process: subprocess.Popen[str]
    http: httpx.Client

    def post(self, **files: tuple[str, bytes]) -> httpx.Response:
        return self.http.post("/v1/edits", files=files, data={"instruction": "make it red"})

    def submit(self, instruction: str = "make it red", key: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post(
            "/v1/edits",
            files={"image": ("mug.png", photo())},
            data={"instruction": instruction},
            headers=headers,
        )


def command(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a child's, not settings
        if not name.startswith("PACKSHOT_")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "producer", "serve", *arguments],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def event(lines: IO[str], name: str) -> Any:  # noqa: ANN401 - a line of the log
    for line in lines:
        if json.loads(line)["event"] == name:
            return json.loads(line)
    raise AssertionError(f"the log ended without {name}")


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[Served]:
    process = command({**environment, "PACKSHOT_LOG_JSON": "true"}, "--port", "0")
    try:
        assert process.stdout is not None
        with httpx.Client(base_url=event(process.stdout, "api_ready")["url"], timeout=20) as http:
            yield Served(process=process, http=http)
    finally:
        process.kill()
        process.communicate()
