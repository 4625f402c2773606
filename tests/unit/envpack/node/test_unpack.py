"""From a signed name to a tree in its final place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envpack.node.depot import depot as depot_at
from envpack.node.errors import HostileArchive, NotTrusted, Unsuitable
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import LayerDocument
from envpack.node.trust import Trusted
from envpack.node.unpack import unpack
from tests.envpack_depot import (
    APP,
    ENV,
    PLACEHOLDER,
    Content,
    TestDepot,
    digest_of,
    members_of,
    tar_of,
)
from tests.unit.envpack.node.scenes import names, trusted, unpacked, with_files, written
from tests.unit.envpack.node.web import Weather, web_server


def test_a_release_is_unpacked_read_only_and_knows_its_place(host: Host, depot: TestDepot) -> None:
    release = unpacked(host, depot, depot.release()).release

    tree = host.layer("env", release.env)
    folder = host.release_folder(release.digest)
    assert (tree / "etc/demo.conf").read_text() == f"prefix={tree}\n"
    blob = (tree / "lib/blob.bin").read_bytes()
    assert len(blob) == len(ENV.files["lib/blob.bin"][0])
    assert blob.startswith(b"\x7fELF\0" + str(tree).encode() + b"/lib\0")
    assert (tree / "lib64/deep/up").resolve() == tree / "lib/empty"
    modes = {path.lstat().st_mode & 0o777 for path in tree.rglob("*") if not path.is_symlink()}
    assert modes == {0o555, 0o444}
    assert (folder / "app/worker/cli.py").read_text() == "A = 1\n"
    assert (folder / "model/SHA256SUMS").read_text().splitlines() == [
        f"{digest_of(b'{}')}  model_index.json",
        f"{digest_of(b'w' * 5000)}  unet/weights.bin",
    ]
    for kind in ("env", "app"):
        assert differing(host, kind, getattr(release, kind), quick=False) == []


def test_what_is_here_is_not_unpacked_again(host: Host, depot: TestDepot) -> None:
    unpacked(host, depot, depot.release(1))
    app = depot.layer("app", with_files(APP, worker__new=b"new"))

    again = unpacked(host, depot, depot.release(2, app=app))
    same = unpacked(host, depot, depot.release(2, app=app))

    assert again.fresh == ("app",)
    assert (same.fresh, same.fetched) == ((), 0)


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst"])
@pytest.mark.parametrize("linked", [False, True])
def test_every_format_gives_the_same_tree(
    host: Host,
    depot: TestDepot,
    tmp_path: Path,
    form: str,
    linked: bool,  # noqa: FBT001
) -> None:
    archive = depot.archive(tar_of(members_of(ENV)), form)
    if linked:
        real = tmp_path / "archive"
        (depot.folder / "archives" / archive.name).rename(real)
        (depot.folder / "archives" / archive.name).symlink_to(real)

    release = unpacked(host, depot, depot.release(env=depot.layer("env", ENV, [archive]))).release

    assert differing(host, "env", release.env, quick=False) == []


def test_no_placeholder_is_left(host: Host, depot: TestDepot) -> None:
    release = unpacked(host, depot, depot.release()).release

    for path in host.layer("env", release.env).rglob("*"):
        assert path.is_dir() or PLACEHOLDER.encode() not in path.read_bytes()


def test_a_long_file_is_compared_while_it_is_written(host: Host, depot: TestDepot) -> None:
    long = os.urandom(1 << 20) * 9
    content = with_files(ENV, lib__long=long)
    release = unpacked(host, depot, depot.release(env=depot.layer("env", content))).release
    broken = [*members_of(with_files(ENV, lib__long=long[:-1] + bytes([long[-1] ^ 1])))]
    other = with_files(ENV, lib__long=long, lib__other=b"")
    broken = [*broken, *members_of(Content(files={"lib/other": (b"", 0o644)}))]
    bad = depot.layer("env", other, [depot.archive(tar_of(broken))])

    assert host.layer("env", release.env).joinpath("lib/long").read_bytes() == long
    with pytest.raises(HostileArchive, match="lib/long"):
        unpacked(host, depot, depot.release(2, env=bad))


def test_an_environment_whose_python_does_not_start_is_not_complete(
    host: Host, depot: TestDepot
) -> None:
    files = {**ENV.files, "bin/python": (b"#!/bin/sh\necho broken library >&2\nexit 1\n", 0o755)}
    content = Content(files=files, links=ENV.links)

    with pytest.raises(Unsuitable, match="does not start: broken library"):
        unpacked(host, depot, depot.release(env=depot.layer("env", content)))

    assert [path for path in written(host) if not path.endswith(".json")] == []


def delta(depot: TestDepot, content: Content, base: str, base_content: Content) -> str:
    held = frozenset(digest_of(data) for data, _ in base_content.files.values())
    archive = depot.archive(tar_of(members_of(content, without=held)), base=base)
    return depot.layer("env", content, [archive])


def test_a_delta_links_what_its_base_has(host: Host, depot: TestDepot) -> None:
    before = unpacked(host, depot, depot.release(1)).release
    content = with_files(ENV, lib__new=b"new")

    after = unpacked(
        host, depot, depot.release(2, env=delta(depot, content, before.env, ENV))
    ).release

    old, new = host.layer("env", before.env), host.layer("env", after.env)
    assert (new / "lib/deep/er/data.txt").samefile(old / "lib/deep/er/data.txt")
    assert (new / "etc/demo.conf").read_text() == f"prefix={new}\n"
    assert differing(host, "env", after.env, quick=False) == []
    assert differing(host, "env", before.env, quick=False) == []


@pytest.mark.parametrize("far", [False, True])
def test_a_base_that_was_changed_is_refused_unless_a_whole_archive_is_there(
    host: Host,
    depot: TestDepot,
    far: bool,  # noqa: FBT001
) -> None:
    before = unpacked(host, depot, depot.release(1)).release
    victim = host.layer("env", before.env) / "lib/deep/er/data.txt"
    victim.chmod(0o644)
    victim.write_bytes(b"evil\n" * 1000)
    content = with_files(ENV, lib__new=b"new")
    env = delta(depot, content, before.env, ENV)

    with pytest.raises(NotTrusted, match="changed since"):
        unpacked(host, depot, depot.release(2, env=env))
    held = frozenset(digest_of(data) for data, _ in ENV.files.values())
    small = depot.archive(tar_of(members_of(content, without=held)), base=before.env)
    whole = depot.archive(tar_of(members_of(content)))
    depot.document(LayerDocument("env", env, (small, whole)))
    release = depot.release(3, env=env)
    with web_server(depot.folder, Weather()) as url:
        place = Trusted(depot_at(url), trusted(depot).keys) if far else trusted(depot)
        after = unpack(host, place, release).release

    assert differing(host, "env", after.env, quick=False) == []
    assert not far or names(host.parts) == set()


@pytest.mark.parametrize("note", ["{}.complete", "{}.json"])
@pytest.mark.parametrize("content", [b"{", b"{}"])
def test_a_damaged_note_of_a_base_costs_a_whole_archive_and_no_release(
    host: Host, depot: TestDepot, note: str, content: bytes
) -> None:
    before = unpacked(host, depot, depot.release(1)).release
    (host.root / "env" / note.format(before.env)).write_bytes(content)
    grown = with_files(ENV, lib__new=b"new")
    env = delta(depot, grown, before.env, ENV)
    small = depot.archive(b"", base=before.env)
    depot.document(LayerDocument("env", env, (small, depot.archive(tar_of(members_of(grown))))))

    after = unpacked(Host(host.root), depot, depot.release(2, env=env)).release

    assert differing(host, "env", after.env, quick=False) == []


def test_a_delta_without_its_base_is_not_used(host: Host, depot: TestDepot) -> None:
    env = delta(depot, with_files(ENV, lib__new=b"new"), "a" * 64, ENV)

    with pytest.raises(Unsuitable, match="no archive that this host can read"):
        unpacked(host, depot, depot.release(env=env))
