from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from jobs.errors import BadSettings
from worker.engine.diffusers import revision
from worker.engine.diffusers.revision import folder_revision

LONG_AGO = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights = tmp_path / "model" / "vae" / "weights"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"abc")
    os.utime(weights, (LONG_AGO, LONG_AGO))
    return tmp_path / "model"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read."""
    names: list[str] = []
    plain = revision._sha256  # noqa: SLF001 - what is counted

    def noted(path: Path) -> str:
        names.append(path.name)
        return plain(path)

    monkeypatch.setattr(revision, "_sha256", noted)
    return names


def test_bytes_are_read_once(folder: Path, tmp_path: Path, read: list[str]) -> None:
    first = folder_revision(folder, memory=tmp_path / "memory")
    second = folder_revision(folder, memory=tmp_path / "memory")

    assert first == second == folder_revision(folder)
    assert read == ["weights", "weights"]  # the last one has no memory


def test_a_changed_file_is_read_again(folder: Path, tmp_path: Path, read: list[str]) -> None:
    before = folder_revision(folder, memory=tmp_path)
    (folder / "vae" / "weights").write_bytes(b"abd")

    assert folder_revision(folder, memory=tmp_path) != before
    assert read == ["weights"] * 2


def test_a_file_that_may_still_change_is_not_remembered(
    folder: Path, tmp_path: Path, read: list[str]
) -> None:
    """Two writes within one tick of the file system's clock look the same."""
    (folder / "vae" / "weights").write_bytes(b"now")
    folder_revision(folder, memory=tmp_path)
    folder_revision(folder, memory=tmp_path)

    assert read == ["weights"] * 2


def test_a_memory_that_cannot_be_written_or_read_costs_only_time(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = folder_revision(folder)
    (tmp_path / "file").touch()
    assert folder_revision(folder, memory=tmp_path / "file") == plain
    assert [record.message for record in caplog.records] == ["digests_not_remembered"]

    folder_revision(folder, memory=tmp_path)
    (memory,) = tmp_path.glob("weights-*.json")
    memory.write_text("not whole")
    assert folder_revision(folder, memory=tmp_path) == plain


def test_nothing_is_written_into_the_folder_of_weights(folder: Path, tmp_path: Path) -> None:
    (folder / "vae").chmod(0o500)
    folder.chmod(0o500)
    folder_revision(folder, memory=tmp_path / "memory")
    folder.chmod(0o700)

    assert [path.name for path in folder.iterdir()] == ["vae"]


def test_of_the_few_step_weights_only_those_loaded_count(folder: Path) -> None:
    before = folder_revision(folder)
    (folder / "lora").mkdir()
    (folder / "lora" / "four").write_bytes(b"4")
    (folder / "lora" / "eight").write_bytes(b"8")

    assert folder_revision(folder) == before
    assert len({before, *(folder_revision(folder, lora=one) for one in ("four", "eight"))}) == 3


def test_a_folder_that_is_not_as_its_sums_say_is_refused(folder: Path) -> None:
    right = hashlib.sha256(b"abc").hexdigest()
    sums = folder / "SHA256SUMS"
    sums.write_text(f"{right}  vae/weights\n")
    plain = folder_revision(folder)

    sums.write_text(f"{right} *./vae/weights\n{right}  vae/gone\n")
    with pytest.raises(BadSettings, match=r"not as SHA256SUMS says: vae/gone is missing$"):
        folder_revision(folder)

    sums.write_text(f"{'0' * 64}  vae/weights\n")
    with pytest.raises(BadSettings, match="vae/weights differs"):
        folder_revision(folder)
    sums.unlink()
    assert folder_revision(folder) == plain


def test_the_memory_is_one_small_file(folder: Path, tmp_path: Path) -> None:
    folder_revision(folder, memory=tmp_path)
    (memory,) = tmp_path.glob("weights-*.json")
    weights = folder / "vae" / "weights"

    assert json.loads(memory.read_text()) == {
        str(weights): [3, LONG_AGO * 10**9, hashlib.sha256(b"abc").hexdigest()]
    }
