"""From a signed name to a tree in its final place, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from envpack.node.activate import activate, state_of
from envpack.node.errors import EnvpackError, HostileArchive, NotThere, NotTrusted, Unsuitable
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import LayerDocument
from envpack.node.plan import Wishes
from envpack.node.unpack import unpack
from tests.envpack_depot import (
    APP,
    ENV,
    MODEL,
    PLACEHOLDER,
    Content,
    TestDepot,
    digest_of,
    members_of,
    tar_of,
)
from tests.envpack_signer import Signer
from tests.unit.envpack.node.scenes import sized, trusted, unpacked, with_files


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


def test_a_base_that_was_changed_is_refused_unless_a_whole_archive_is_there(
    host: Host, depot: TestDepot
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
    after = unpacked(host, depot, depot.release(3, env=env)).release

    assert differing(host, "env", after.env, quick=False) == []


def test_a_delta_without_its_base_is_not_used(host: Host, depot: TestDepot) -> None:
    env = delta(depot, with_files(ENV, lib__new=b"new"), "a" * 64, ENV)

    with pytest.raises(Unsuitable, match="no archive that this host can read"):
        unpacked(host, depot, depot.release(env=env))


def written(host: Host) -> list[str]:
    """Everything below the root, but for the lock."""
    return sorted(str(path.relative_to(host.root)) for path in host.root.glob("*/*"))


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("where", ["archives", "releases", "manifests", "layers"])
@pytest.mark.parametrize("place", [0, 30, -2])
def test_a_flipped_bit_is_refused_before_anything_is_written(
    host: Host, depot: TestDepot, where: str, place: int
) -> None:
    release = depot.release()
    for path in (depot.folder / where).iterdir():
        flip(path, place)

    with pytest.raises(EnvpackError):
        unpacked(host, depot, release)

    assert written(host) == []


def of_layer(depot: TestDepot, release: str, kind: str) -> tuple[Path, Path | None]:
    """The document of one of a release's layers, and its archive."""
    digest = json.loads((depot.folder / f"releases/{release}.json").read_bytes())[kind]
    document = depot.folder / f"layers/{digest}.json"
    archives = json.loads(document.read_bytes())["archives"]
    names = [f"{one['sha256']}.{one['format']}" for one in archives]
    return document, depot.folder / "archives" / names[0] if names else None


@pytest.mark.parametrize("kind", ["env", "app"])
def test_one_flipped_archive_keeps_both_from_being_written(
    host: Host, depot: TestDepot, kind: str
) -> None:
    release = depot.release()
    _, archive = of_layer(depot, release, kind)
    assert archive is not None
    flip(archive)

    with pytest.raises(NotTrusted, match="sha256"):
        unpacked(host, depot, release)

    assert written(host) == []


@pytest.mark.parametrize("kind", ["env", "app", "model"])
@pytest.mark.parametrize("how", ["flipped", "signed by a stranger"])
def test_one_layer_s_document_keeps_all_from_being_written(
    host: Host, depot: TestDepot, kind: str, how: str
) -> None:
    release = depot.release()
    document, _ = of_layer(depot, release, kind)
    if how == "flipped":
        flip(document, -2)
    else:
        stranger = Signer(b"\x0c" * 32, key_id=b"\x0c" * 8)
        signature = document.with_name(f"{document.name}.minisig")
        signature.write_text(stranger.minisig(document.read_bytes(), comment="x"))

    with pytest.raises(NotTrusted):
        unpacked(host, depot, release)

    assert written(host) == []


def test_a_truncated_archive_is_refused_before_anything_is_written(
    host: Host, depot: TestDepot
) -> None:
    release = depot.release()
    for path in (depot.folder / "archives").iterdir():
        path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(NotTrusted, match="bytes expected"):
        unpacked(host, depot, release)

    assert written(host) == []


def test_another_key_is_refused_before_anything_is_written(host: Host, tmp_path: Path) -> None:
    stranger = TestDepot(tmp_path / "strange", Signer(b"\x0c" * 32, key_id=b"\x0c" * 8))

    with pytest.raises(NotTrusted, match="signed with key 0C0C"):
        unpacked(host, stranger, stranger.release())

    assert written(host) == []


def test_a_document_cannot_stand_in_for_another(host: Host, depot: TestDepot) -> None:
    one, other = depot.release(1), depot.release(2)
    for suffix in ("", ".minisig"):
        good = depot.folder / f"releases/{other}.json{suffix}"
        good.replace(depot.folder / f"releases/{one}.json{suffix}")

    with pytest.raises(NotTrusted, match="sha256"):
        unpacked(host, depot, one)


def test_a_layer_document_of_another_layer_is_refused(host: Host, depot: TestDepot) -> None:
    env, app = depot.layer("env", ENV), depot.layer("app", APP)
    for suffix in ("", ".minisig"):
        content = (depot.folder / f"layers/{app}.json{suffix}").read_bytes()
        (depot.folder / f"layers/{env}.json{suffix}").write_bytes(content)

    with pytest.raises(NotTrusted, match="signed, but for app layer"):
        unpacked(host, depot, depot_release(depot, env, app))


def depot_release(depot: TestDepot, env: str, app: str) -> str:
    return depot.release(env=env, app=app)


def test_a_release_that_is_not_there_is_said_to_be_none(host: Host, depot: TestDepot) -> None:
    with pytest.raises(NotThere, match="no such file in this depot"):
        unpacked(host, depot, "a" * 64)


def test_a_root_too_long_for_the_placeholder_is_refused_first(
    depot: TestDepot, tmp_path: Path
) -> None:
    long = tmp_path / ("r" * 100) / ("o" * 100)
    long.mkdir(parents=True)
    host = Host(long)

    with pytest.raises(Unsuitable, match="room for 255"):
        unpacked(host, depot, depot.release())

    assert written(host) == []


def test_a_prefix_may_be_255_characters_and_not_256(depot: TestDepot, tmp_path: Path) -> None:
    release = depot.release()
    tail = len("/env/") + 64
    for length, fits in ((255, True), (256, False)):
        room = length - tail - len(str(tmp_path)) - 1
        host = Host(tmp_path / ("r" * min(room, 200)) if room <= 200 else tmp_path / "x")
        if len(str(host.layer("env", "a" * 64))) != length:
            pytest.skip("the tests' own folder is too deep or too short")
        if fits:
            unpacked(host, depot, release)
        else:
            with pytest.raises(Unsuitable, match="256 bytes long, the environment has room"):
                unpacked(host, depot, release)


def test_a_root_with_blanks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="blanks"):
        Host(tmp_path / "my root")


def test_a_root_is_known_by_its_real_path(host: Host, depot: TestDepot, tmp_path: Path) -> None:
    host.root.mkdir()
    (tmp_path / "link").symlink_to(host.root)

    release = unpacked(Host(tmp_path / "link"), depot, depot.release()).release

    text = (host.layer("env", release.env) / "etc/demo.conf").read_text()
    assert text == f"prefix={host.layer('env', release.env)}\n"


@pytest.mark.parametrize("kind", ["env", "app", "model", "releases"])
def test_a_folder_of_the_root_may_be_a_link_to_another_disk(
    host: Host, depot: TestDepot, tmp_path: Path, kind: str
) -> None:
    host.root.mkdir()
    (tmp_path / "disk").mkdir()
    (host.root / kind).symlink_to(tmp_path / "disk")

    release = unpacked(host, depot, depot.release()).release
    assert unpacked(host, depot, release.digest).fresh == ()
    activate(host, release.digest)

    program = host.root / "current/bin/packshot-worker"
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    folder = host.root / kind if kind == "releases" else tmp_path / "disk"
    assert (folder / getattr(release, kind, release.digest)).is_dir()
    assert f"PACKSHOT_RELEASE={release.digest}\n" in said
    assert state_of(host, release) == "ready"


@pytest.mark.parametrize(
    ("fact", "value", "why"),
    [
        ("platform", "linux-riscv64", "made for linux-riscv64"),
        ("glibc", "99.1", "needs glibc 99.1 or newer"),
    ],
)
def test_a_host_that_cannot_run_it_is_told_before_anything_is_written(
    host: Host, depot: TestDepot, fact: str, value: str, why: str
) -> None:
    content = Content(files=ENV.files, links=ENV.links, facts={**ENV.facts, fact: value})

    with pytest.raises(Unsuitable, match=why):
        unpacked(host, depot, depot.release(env=depot.layer("env", content)))

    assert written(host) == []


def test_space_is_asked_for_before_anything_is_written(host: Host, depot: TestDepot) -> None:
    env = sized(depot, "env", ENV, 10**15)

    with pytest.raises(Unsuitable, match=r"1,000,000,0\d\d MB needed, .* free"):
        unpacked(host, depot, depot.release(env=env))

    assert written(host) == []


@pytest.mark.parametrize("kinds", [("env", "app"), ("env", "model"), ("app", "model")])
def test_space_is_asked_for_all_layers_together(
    host: Host, depot: TestDepot, tmp_path: Path, kinds: tuple[str, str]
) -> None:
    most = shutil.disk_usage(tmp_path).free * 6 // 10  # one of them would fit
    contents = {"env": ENV, "app": APP, "model": MODEL}
    layers = {kind: sized(depot, kind, contents[kind], most) for kind in kinds}

    with pytest.raises(Unsuitable, match=r"MB needed, .* free"):
        unpacked(host, depot, depot.release(1, **layers))

    assert written(host) == []


def test_what_a_killed_run_left_makes_room_before_space_is_asked_for(
    host: Host, depot: TestDepot
) -> None:
    left = host.layer("env", "a" * 64)
    (left / "lib").mkdir(parents=True)
    (left.with_name(f".{'b' * 64}") / "lib").mkdir(parents=True)

    with pytest.raises(Unsuitable, match="MB needed"):
        unpacked(host, depot, depot.release(env=sized(depot, "env", ENV, 10**15)))

    assert written(host) == []


def test_a_moved_root_is_refused_at_the_next_unpack_and_at_start(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    unpacked(host, depot, release)
    moved = tmp_path / "moved"
    host.root.rename(moved)

    with pytest.raises(NotTrusted, match="cannot be moved"):
        unpacked(Host(moved), depot, release)
    start = [str(moved / "releases" / release / "bin/packshot-worker")]
    ended = subprocess.run(start, capture_output=True, text=True, check=False)
    assert ended.returncode == 69
    assert "cannot be moved" in ended.stderr


def test_an_environment_whose_python_does_not_start_is_not_complete(
    host: Host, depot: TestDepot
) -> None:
    files = {**ENV.files, "bin/python": (b"#!/bin/sh\necho broken library >&2\nexit 1\n", 0o755)}
    content = Content(files=files, links=ENV.links)

    with pytest.raises(Unsuitable, match="does not start: broken library"):
        unpacked(host, depot, depot.release(env=depot.layer("env", content)))

    assert [path for path in written(host) if not path.endswith(".json")] == []


def test_no_placeholder_is_left(host: Host, depot: TestDepot) -> None:
    release = unpacked(host, depot, depot.release()).release

    for path in host.layer("env", release.env).rglob("*"):
        assert path.is_dir() or PLACEHOLDER.encode() not in path.read_bytes()


def test_a_copied_root_is_refused_although_the_original_stands(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    unpacked(host, depot, release)
    subprocess.run(["cp", "-a", str(host.root), str(tmp_path / "copy")], check=True)

    with pytest.raises(NotTrusted, match=r"stands at .*/copy/env/.* cannot be moved"):
        unpacked(Host(tmp_path / "copy"), depot, release)


def test_weights_that_were_taken_away_are_missed(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    digest = depot.release()
    release = unpack(host, trusted(depot), digest, Wishes(model_to=tmp_path / "disk")).release
    (tmp_path / "disk").rename(tmp_path / "other")

    with pytest.raises(NotTrusted, match="is not there any more"):
        host.placed("model", release.model)
