"""What was damaged, or signed by a stranger, is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envpack.node.errors import EnvpackError, InvalidManifest, NotThere, NotTrusted
from envpack.node.host import Host
from envpack.node.model import LayerDocument, spelt
from envpack.node.settings import Settings
from envpack.node.trust import keys_of
from tests.envpack_depot import APP, ENV, TestDepot, digest_of, members_of, tar_of
from tests.envpack_signer import Signer
from tests.unit.envpack.node.scenes import unpacked, written


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("where", ["archives", "releases", "manifests", "layers", "[am]*s"])
@pytest.mark.parametrize("place", [0, 30, -2])
def test_a_flipped_bit_is_refused_before_anything_is_written(
    host: Host, depot: TestDepot, where: str, place: int
) -> None:
    """Archives and manifests are compared side by side, so both at once too."""
    release = depot.release()
    for path in depot.folder.glob(f"{where}/*"):
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

    with pytest.raises(NotTrusted, match="signed with key C0C0"):
        unpacked(host, stranger, stranger.release())

    assert written(host) == []


def test_a_document_cannot_stand_in_for_another(host: Host, depot: TestDepot) -> None:
    one, other = depot.release(1), depot.release(2)
    for suffix in ("", ".minisig"):
        good = depot.folder / f"releases/{other}.json{suffix}"
        good.replace(depot.folder / f"releases/{one}.json{suffix}")

    with pytest.raises(NotTrusted, match=r"sha256 .* found: .* remove it from the depot"):
        unpacked(host, depot, one)


def test_a_layer_document_of_another_layer_is_refused(host: Host, depot: TestDepot) -> None:
    env, app = depot.layer("env", ENV), depot.layer("app", APP)
    for suffix in ("", ".minisig"):
        content = (depot.folder / f"layers/{app}.json{suffix}").read_bytes()
        (depot.folder / f"layers/{env}.json{suffix}").write_bytes(content)

    with pytest.raises(NotTrusted, match="signed, but for app layer"):
        unpacked(host, depot, depot.release(env=env, app=app))


def test_a_release_that_is_not_there_is_said_to_be_none(host: Host, depot: TestDepot) -> None:
    with pytest.raises(NotThere, match="no such depot"):
        unpacked(host, depot, "a" * 64)
    depot.release()
    with pytest.raises(NotThere, match="no such file in this depot"):
        unpacked(host, depot, "a" * 64)


def test_a_manifest_that_says_more_than_is_understood_is_refused(
    host: Host, depot: TestDepot
) -> None:
    # What it asks for would silently not be done.
    content = spelt({**ENV.manifest("env").as_json(), "hooks": []})
    digest = digest_of(content)
    depot.put(f"manifests/{digest}.json", content)
    archive = depot.archive(tar_of(members_of(ENV)))
    depot.document(LayerDocument("env", digest, (archive,)))

    with pytest.raises(InvalidManifest, match="use a newer one"):
        unpacked(host, depot, depot.release(env=digest))
    assert written(host) == []


def test_keys_may_be_listed_with_blanks_between() -> None:
    one, other = (Signer(bytes([n]) * 32).public.splitlines()[1] for n in (1, 2))

    found = Settings.from_env({"PACKSHOT_DEPOT_KEY": f" {one} , {other},\n"}).keys

    assert len(keys_of(found)) == 2
