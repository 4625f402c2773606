"""A spec becomes a lock, a lock becomes a prefix: for real, through py-rattler and pip, offline."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from envpack.node.errors import NotTrusted, Unreachable, Unsuitable
from envpack.pack import build
from envpack.pack.build import Sources
from envpack.pack.builders import BUILDERS, Rattler
from envpack.pack.collect import collect
from envpack.pack.errors import NotPackable
from envpack.pack.inventory import RECORD
from envpack.pack.lock import Lock
from envpack.pack.process import ToolFailed
from envpack.pack.spec import Spec
from tests.conda_prefix import PLACEHOLDER, PYTHON, conf_package, write_wheel

RATTLER = BUILDERS["py-rattler"]


@pytest.fixture(scope="module")
def spec(conda_channel: Path) -> Spec:
    return Spec(
        name="demo",
        variant="cpu",
        platform="linux-64",
        python=PYTHON.removeprefix("python"),
        channels=(conda_channel.as_uri(),),
        conda=(f"python {PYTHON.removeprefix('python')}.*", "demo-conf"),
        wheels=("demo-tool",),
    )


@pytest.fixture(scope="module")
def lock(spec: Spec, wheelhouse: Path) -> Lock:
    return build.refresh(spec, RATTLER, Sources(wheelhouse=wheelhouse))


@pytest.fixture(scope="module")
def built(
    spec: Spec, lock: Lock, wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    prefix = tmp_path_factory.mktemp("built") / "env"
    return build.build(lock, spec, prefix, RATTLER, Sources(wheelhouse=wheelhouse))


def test_a_lock_holds_the_digest_of_all_that_a_spec_brings(lock: Lock) -> None:
    assert [one.identity[0] for one in sorted(lock.conda)] == ["python", "demo-conf"]
    assert [(one.name, one.version) for one in lock.wheels] == [("demo-tool", "1.0")]


def test_a_spec_solved_again_gives_the_same_lock(spec: Spec, lock: Lock, wheelhouse: Path) -> None:
    again = build.refresh(spec, RATTLER, Sources(wheelhouse=wheelhouse))

    assert again.as_json() == lock.as_json()


#: Builds half of a prefix, as far as a builder came that was killed.
HALF = """
import json, os, signal, sys
from pathlib import Path
from envpack.pack import build, spec
from envpack.pack.lock import Lock

class Killed:
    name = "killed"
    def link(self, lock, prefix, cache):
        (prefix / "conda-meta").mkdir(parents=True)
        (prefix / "conda-meta/half.json").touch()
        os.kill(os.getpid(), signal.SIGKILL)

lock, prefix = sys.argv[1:]
locked = Lock.from_json(json.loads(lock))
build.build(locked, spec.read(spec.WORKER, "cpu"), Path(prefix), Killed(), build.Sources())
"""


def test_a_killed_build_is_not_packed_and_begun_again(
    spec: Spec, lock: Lock, wheelhouse: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / "env"
    words = [sys.executable, "-c", HALF, json.dumps(lock.as_json()), str(prefix)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert (prefix / "conda-meta/half.json").exists()
    with pytest.raises(NotPackable, match="half built"):
        collect(prefix)

    build.build(lock, spec, prefix, RATTLER, Sources(wheelhouse=wheelhouse))

    assert not (prefix / "conda-meta/half.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"env", "env.cache"}
    assert collect(prefix).packages


def test_what_a_build_could_not_remove_is_not_packed_and_begun_again(
    spec: Spec, lock: Lock, wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Half(Rattler):
        def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
            del lock, cache
            (prefix / "conda-meta").mkdir(parents=True)
            raise KeyboardInterrupt

    def interrupted(*_what: object, **_how: object) -> None:
        raise KeyboardInterrupt

    prefix = tmp_path / "env"
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.build(lock, spec, prefix, Half(), Sources())
    monkeypatch.undo()
    with pytest.raises(NotPackable, match="half built"):
        collect(prefix)

    build.build(lock, spec, prefix, RATTLER, Sources(wheelhouse=wheelhouse))

    assert {path.name for path in tmp_path.iterdir()} == {"env", "env.cache"}


def test_of_two_builds_at_once_the_second_is_told_to_wait(
    spec: Spec, lock: Lock, tmp_path: Path
) -> None:
    class Twice(Rattler):
        def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
            del cache
            prefix.mkdir()
            build.build(lock, spec, prefix, Twice(), Sources())

    with pytest.raises(Unreachable, match="another run builds it"):
        build.build(lock, spec, tmp_path / "env", Twice(), Sources())

    assert list(tmp_path.iterdir()) == []


def test_a_prefix_runs_what_was_locked(built: Path) -> None:
    said = subprocess.run([built / "bin" / "demo-tool"], capture_output=True, check=True, text=True)

    assert said.stdout.strip() == str(built)


def test_a_prefix_tells_what_it_was_built_from(built: Path, spec: Spec, lock: Lock) -> None:
    record = json.loads((built / RECORD).read_text())

    assert record["builder"] == "py-rattler"
    assert record["lock"] == lock.as_json()
    assert record["spec"]["name"] == spec.name


def test_pip_leaves_no_byte_code_that_holds_times(built: Path) -> None:
    assert not list((built / "lib" / PYTHON / "site-packages" / "demo_tool").rglob("*.pyc"))


def test_a_wheel_of_other_content_is_refused_and_nothing_is_left(
    spec: Spec, lock: Lock, tmp_path: Path
) -> None:
    house = tmp_path / "house"
    write_wheel(house, "demo_tool", "1.0", {"demo_tool/__init__.py": b"import evil\n"})

    with pytest.raises(NotTrusted, match="a wheel is not the locked one"):
        build.build(lock, spec, tmp_path / "env", RATTLER, Sources(wheelhouse=house))
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("over", ["file", "http"])
def test_a_conda_package_of_other_content_is_refused_and_nothing_is_left(
    spec: Spec, lock: Lock, conda_channel: Path, tmp_path: Path, over: str
) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(conda_channel, mirror)
    changed = conf_package(tmp_path / "stage")
    (tmp_path / "stage" / "etc" / "demo.conf").write_text(f"home = {PLACEHOLDER}/evil\n")
    changed.write(mirror)

    with served(mirror) as url:
        base = url if over == "http" else mirror.as_uri()
        moved = [replace(one, url=f"{base}/{one.subdir}/{one.file}") for one in lock.conda]
        with pytest.raises((NotTrusted, ToolFailed), match=r"the lock says|hash mismatch"):
            build.build(
                replace(lock, conda=tuple(moved)), spec, tmp_path / "env", RATTLER, Sources()
            )
    assert not (tmp_path / "env").exists()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder over HTTP, on a port of its own."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_prefix_that_is_not_as_locked_is_told_by_name(built: Path, lock: Lock) -> None:
    python = next(one for one in lock.conda if one.identity[0] == "python")
    absent = replace(python, url=python.url.replace("python-", "openssl-"))
    swapped = tuple(replace(one, sha256="0" * 64) for one in lock.conda)

    for wrong, said in (
        (replace(lock, conda=(python,)), "conda: not in the lock: demo-conf"),
        (replace(lock, conda=(*lock.conda, absent)), "conda: missing: openssl"),
        (replace(lock, conda=swapped), "the lock says 0000"),
        (replace(lock, wheels=(replace(lock.wheels[0], version="2"),)), "wheels: missing: demo-t"),
    ):
        with pytest.raises(NotTrusted, match=said):
            build.compare(built, wrong)


@pytest.mark.parametrize("name", ["with space", "x" * 256, "taken"])
def test_a_prefix_that_cannot_be_is_refused_before_anything_is_fetched(
    spec: Spec, lock: Lock, tmp_path: Path, name: str
) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(Unsuitable):
        build.build(lock, spec, tmp_path / name, RATTLER, Sources())
    assert not list(tmp_path.glob("*.cache"))


def test_a_wheel_whose_dependency_is_not_locked_is_found_at_once(
    spec: Spec, lock: Lock, tmp_path: Path
) -> None:
    house = tmp_path / "house"
    needy = replace(lock.wheels[0], name="needy", file="needy-1.0-py3-none-any.whl")
    house.mkdir()
    with zipfile.ZipFile(house / needy.file, "w") as zipped:
        head = "Metadata-Version: 2.1\nName: needy\nVersion: 1.0\nRequires-Dist: absent>=1\n"
        zipped.writestr("needy-1.0.dist-info/METADATA", head)
        zipped.writestr("needy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        zipped.writestr("needy-1.0.dist-info/RECORD", "")
    digest = sha256((house / needy.file).read_bytes()).hexdigest()

    with pytest.raises(ToolFailed, match=r"needy 1.0 requires absent"):
        build.build(
            replace(lock, wheels=(replace(needy, sha256=digest),)),
            spec,
            tmp_path / "env",
            RATTLER,
            Sources(wheelhouse=house),
        )
