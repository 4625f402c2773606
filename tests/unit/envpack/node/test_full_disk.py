"""A disk that fills up while an environment is unpacked."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from envpack.node.host import Host
from tests.envpack_depot import APP, TestDepot
from tests.unit.envpack.node.scenes import names, unpacked, with_files

LARGE = 1 << 20  # bytes


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses what is written beyond, as it does on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_tree_that_does_not_fit_gives_its_room_back(host: Host, depot: TestDepot) -> None:
    app = depot.layer("app", with_files(APP, large=b"x" * LARGE))
    release = depot.release(app=app)

    with no_file_longer_than(LARGE // 2), pytest.raises(OSError, match="too large") as caught:
        unpacked(host, depot, release)

    assert caught.value.filename == str(host.draft("app", app))
    assert names(host.root / "app") == {f"{app}.json"}
    assert unpacked(host, depot, release).fresh == ("app", "model")
