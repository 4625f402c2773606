"""Weights come file by file, only what is missing, and are what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.node import fetch, weights
from envpack.node.depot import depot as depot_at
from envpack.node.errors import NotTrusted, Unreachable, Unsuitable
from envpack.node.host import Host
from envpack.node.minisign import PublicKey
from envpack.node.plan import Wishes
from envpack.node.trust import Trusted
from envpack.node.unpack import unpack
from envpack.node.weights import differences, differences_from_sums, lacking, pull, pull_into
from jobs.errors import BadSettings
from tests.envpack_depot import MODEL, SIGNER, Content, TestDepot, digest_of
from tests.unit.envpack.node.scenes import trusted
from tests.unit.envpack.node.web import Weather, web_server
from worker.engine.diffusers.revision import folder_revision

TWINS = Content(
    files={**MODEL.files, "vae/twin.bin": MODEL.files["unet/weights.bin"]},
)


def test_only_what_is_missing_is_fetched(host: Host, depot: TestDepot, tmp_path: Path) -> None:
    model = depot.layer("model", MODEL)
    folder = tmp_path / "weights"
    assert pull(host, trusted(depot), model, folder) == 5002
    (folder / "unet/weights.bin").unlink()
    (folder / "unet/weights.bin").write_bytes(b"x" * 5000)

    assert pull(host, trusted(depot), model, folder) == 5000
    assert pull(host, trusted(depot), model, folder) == 0
    assert host.placed("model", model) == folder
    assert not (folder / ".parts").exists()


def test_a_worker_accepts_the_folder_and_refuses_a_changed_one(
    host: Host, depot: TestDepot
) -> None:
    model = depot.layer("model", MODEL)
    pull(host, trusted(depot), model, None)
    folder = host.layer("model", model)

    assert folder_revision(folder)
    assert differences_from_sums(folder) == []
    (folder / "model_index.json").chmod(0o644)
    (folder / "model_index.json").write_bytes(b"[]")
    assert differences_from_sums(folder) == ["model_index.json: differs"]
    with pytest.raises(BadSettings, match=r"model_index\.json differs"):
        folder_revision(folder)


def test_weights_that_are_whole_may_lie_where_nothing_can_be_written(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    model, folder = depot.layer("model", MODEL), tmp_path / "shared"
    assert pull_into(trusted(depot), model, folder) == 5002
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}

    assert pull(host, trusted(depot), model, folder) == 0

    assert before == {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    assert host.placed("model", model) == folder
    (folder / "SHA256SUMS").write_text("of another model\n")
    assert pull(host, trusted(depot), model, folder) == 0
    assert differences_from_sums(folder) == []


def test_equal_files_are_fetched_once(host: Host, depot: TestDepot) -> None:
    model = depot.layer("model", TWINS)

    fetched = pull(host, trusted(depot), model, None)

    folder = host.layer("model", model)
    assert fetched == 5002
    assert differences(folder, host.manifest("model", model)) == []


def test_what_broke_off_goes_on(
    host: Host, depot: TestDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_PAUSE", 0.0)
    monkeypatch.setattr(weights, "_SIDE_BY_SIDE", 1)
    model = depot.layer("model", MODEL)
    weather = Weather()
    with web_server(depot.folder, weather) as url:
        place = Trusted(depot_at(url), [PublicKey.from_text(SIGNER.public)])
        manifest = place.manifest("model", model)
        weather.cut_after = [*[1 << 20] * 3, 1, *[100] * 6]  # three documents come first
        with pytest.raises(Unreachable):
            pull_into(place, model, host.root / "m")
        assert not (host.root / "m/unet/weights.bin").exists()
        weather.cut_after, weather.asked = [], []
        pull_into(place, model, host.root / "m")

    assert all(asked[1] for asked in weather.asked if digest_of(b"w" * 5000) in asked[0])
    assert differences(host.root / "m", manifest) == []


def test_weights_that_are_something_else_are_refused(host: Host, depot: TestDepot) -> None:
    model = depot.layer("model", MODEL)
    depot.put(f"files/{digest_of(b'w' * 5000)}", b"e" * 5000)

    with pytest.raises(NotTrusted, match="sha256"):
        pull(host, trusted(depot), model, None)

    assert host.completion("model", model) is None
    assert not (host.layer("model", model) / "unet/weights.bin").exists()


def test_nothing_is_written_through_a_link(host: Host, depot: TestDepot, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "unet").symlink_to(outside)

    with pytest.raises(NotTrusted, match="through a link"):
        pull(host, trusted(depot), depot.layer("model", MODEL), folder)

    assert list(outside.iterdir()) == []


def test_weights_that_are_whole_stay_where_releases_look_for_them(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    model = unpack(host, trusted(depot), release, Wishes(model_to=tmp_path / "disk")).release.model

    with pytest.raises(Unsuitable, match=rf"is in {tmp_path}/disk, from where its releases start"):
        pull(host, trusted(depot), model, tmp_path / "other")
    with pytest.raises(Unsuitable, match="would not be looked for"):
        unpack(host, trusted(depot), release, Wishes(model_to=tmp_path / "other"))
    for named in (None, tmp_path / "disk"):
        assert pull(host, trusted(depot), model, named) == 0

    assert host.placed("model", model) == tmp_path / "disk"
    assert not (tmp_path / "other").exists()
    assert not host.layer("model", model).exists()


def test_weights_go_into_a_folder_below_the_working_one(
    depot: TestDepot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    model = depot.layer("model", MODEL)

    for folder in (Path("weights"), tmp_path / "link" / "weights"):
        assert pull_into(trusted(depot), model, folder) == 5002
        assert differences_from_sums(folder) == []


def test_room_is_asked_for_each_copy_and_not_for_what_has_come(
    host: Host, depot: TestDepot
) -> None:
    model = depot.layer("model", TWINS)
    folder = host.layer("model", model)
    assert lacking(trusted(depot), model, folder).needed.size == 2 + 2 * 5000
    (folder / ".parts").mkdir(parents=True)
    (folder / ".parts" / digest_of(b"w" * 5000)).write_bytes(b"w" * 3000)

    assert lacking(trusted(depot), model, folder).needed.size == 2 + 2 * 5000 - 3000


def test_a_folder_without_sums_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="has no SHA256SUMS"):
        differences_from_sums(tmp_path)
