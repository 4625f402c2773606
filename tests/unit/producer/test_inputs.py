"""Each picture is uploaded once, and none is counted on for longer than any sweep waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.errors import UnusablePicture
from jobs.model import ArtifactKey
from jobs.testing import MemoryArtifacts, MemoryLedger
from producer.inputs import REMEMBERED, Inputs, Picture
from tests.unit.producer.shop import photo


class CountingLedger(MemoryLedger):
    touched = 0

    def touch_inputs(self, tenant: str, digests: Sequence[str]) -> set[str]:
        self.touched += 1
        return super().touch_inputs(tenant, digests)


class SlowArtifacts(MemoryArtifacts):
    """``put`` waits until it may, so that others can come meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.may_go = threading.Event()

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        self.puts += 1
        self.may_go.wait(10)
        super().put(key, data, media_type=media_type)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def picture(colour: str = "white") -> Picture:
    return Picture(name=f"{colour}.png", data=photo(colour))


def test_the_same_bytes_are_uploaded_and_told_once() -> None:
    ledger, artifacts = CountingLedger(), SlowArtifacts()
    artifacts.may_go.set()
    inputs = Inputs(ledger, artifacts, "shop")

    digests = {inputs.store(picture()) for _ in range(5)}

    assert len(digests) == 1
    assert (ledger.touched, artifacts.puts) == (1, 1)


def test_of_several_threads_with_one_picture_one_uploads_it() -> None:
    artifacts = SlowArtifacts()
    inputs = Inputs(MemoryLedger(), artifacts, "shop")

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(inputs.store, picture()) for _ in range(4)]
        artifacts.may_go.set()
        digests = {call.result() for call in calls}

    assert len(digests) == 1
    assert artifacts.puts == 1


def test_after_a_while_an_input_is_marked_as_used_again() -> None:
    clock, ledger, artifacts = Clock(), CountingLedger(), MemoryArtifacts()
    inputs = Inputs(ledger, artifacts, "shop", clock=clock)

    inputs.store(picture())
    clock.now = REMEMBERED + 1
    inputs.store(picture())

    assert ledger.touched == 2


def test_a_file_that_changed_is_another_picture(tmp_path: Path) -> None:
    inputs = Inputs(MemoryLedger(), MemoryArtifacts(), "shop")
    path = tmp_path / "shirt.png"

    path.write_bytes(photo("white"))
    first = inputs.store(Picture.at(path))
    path.write_bytes(photo("red", size=(32, 32)))

    assert inputs.store(Picture.at(path)) != first


def test_a_file_that_is_gone_is_known_no_more(tmp_path: Path) -> None:
    inputs = Inputs(MemoryLedger(), MemoryArtifacts(), "shop")
    path = tmp_path / "shirt.png"
    path.write_bytes(photo("white"))
    inputs.store(Picture.at(path))
    path.unlink()

    with pytest.raises(UnusablePicture, match=r"shirt\.png"):
        inputs.store(Picture.at(path))


def test_an_upload_that_failed_is_tried_again() -> None:
    class Away(MemoryArtifacts):
        away = True

        def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
            if self.away:
                raise OSError("the bucket is away")
            super().put(key, data, media_type=media_type)

    artifacts = Away()
    inputs = Inputs(MemoryLedger(), artifacts, "shop")
    with pytest.raises(OSError, match="away"):
        inputs.store(picture())
    artifacts.away = False

    inputs.store(picture())

    assert len(list(artifacts.keys("shop/"))) == 1


@pytest.mark.parametrize("name", ["https://shop.example/mug.png", "s3://shots/mug.png"])
def test_an_address_is_told_to_be_none_of_a_file(name: str) -> None:
    with pytest.raises(UnusablePicture, match=f"^{name}: an address, not a file; download"):
        Picture.at(name).read()
