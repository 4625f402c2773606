"""Whatever a person mistypes or a disk has damaged: one line that says which, and its exit code."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from envpack.cli import COMMANDS
from envpack.node import commands
from envpack.node.weights import differences_from_sums
from envpack.pack.sign import make_key
from tests.envpack_depot import APP, ENV, TestDepot, members_of, tar_of

DIGEST = "a" * 64
NO_TEXT = b"\xff\xfe\x00\x01"
DEEP = b"[" * 200_000  # deeper than any reader recurses
SECRET = "hunter2"

Run = Callable[..., "tuple[int, str]"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*words: str | Path) -> tuple[int, str]:
        code = commands.main("packshot-env", "", COMMANDS, list(map(str, words)))
        return code, capsys.readouterr().err

    return ran


def one_line(ended: tuple[int, str], code: int, *said: str) -> None:
    assert ended[0] == code
    assert ended[1].count("\n") == 1
    for text in said:
        assert text in ended[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the commands, with what else they are given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env/conda-meta").mkdir(parents=True)
    (tmp_path / "env/conda-meta/history").touch()
    (tmp_path / "key.pub").write_text(TestDepot(tmp_path / "other").signer.public)
    return tmp_path


@pytest.mark.parametrize("content", [NO_TEXT, DEEP, b"", b"{", b"[]", b"null"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report.json", ["judge", "report.json", "--canary", "b"]),
        ("lock.json", ["build", "--prefix", "/nowhere/env", "--lock-file", "lock.json"]),
        ("env/conda-meta/python.json", ["sbom", "env", "--layer", DIGEST]),
        ("env/conda-meta/python.json", ["pack", "env", "--depot", "depot"]),
        (f"depot/releases/{DIGEST}.json", ["ship", "depot", "there", "--release", DIGEST]),
        (
            f"depot/reports/{DIGEST}/provenance.intoto.json",
            ["origin", DIGEST, "--depot", "depot", "--key", "key.pub"],
        ),
    ],
)
def test_a_document_that_is_none_is_refused(
    run: Run, here: Path, name: str, words: Sequence[str], content: bytes
) -> None:
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / name).write_bytes(content)

    one_line(run(*words), 65)


def test_a_key_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    depot, none = TestDepot(tmp_path / "depot"), tmp_path / "none"
    none.write_text("no key\n")
    none.chmod(0o600)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(NO_TEXT)
    asked = ["verify", depot.release(), "--depot", depot.folder, "--key"]

    one_line(run(*asked, none), 65, str(none))
    one_line(run(*asked, tmp_path / "missing.pub"), 65, "missing.pub", "file")
    one_line(run(*asked, garbage), 66, str(garbage))
    one_line(run("sign", DIGEST, "--depot", depot.folder, "--key", none), 65, str(none))


def test_a_secret_key_is_never_written_over_by_its_public_one(run: Run, tmp_path: Path) -> None:
    one_line(run("keygen", tmp_path / "release.pub"), 69, "--public")

    assert list(tmp_path.iterdir()) == []


def test_no_secret_key_is_left_without_its_public_one(run: Run, tmp_path: Path) -> None:
    assert run("keygen", tmp_path / "key", "--public", tmp_path / "far/key.pub")[0] == 0
    one_line(run("keygen", tmp_path / "second", "--public", "/proc/no/key.pub"), 66, "/proc/no")

    assert (tmp_path / "far/key.pub").exists()
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    "place", ["http://[::1", "https://host:port/", f"https://me:{SECRET}@host/depot", "http://"]
)
def test_a_depot_that_is_no_address_is_refused_without_its_secret(
    run: Run, tmp_path: Path, place: str
) -> None:
    key = TestDepot(tmp_path).signer.public
    ended = run("verify", DIGEST, "--depot", place, "--key", key)

    one_line(ended, 69, "depot")
    assert SECRET not in ended[1]


@pytest.mark.parametrize(
    "url", [f"http://me:{SECRET}@[::1", f"https://me:{SECRET}@host:{SECRET}", "https://a:b@", ""]
)
def test_a_bucket_s_server_that_is_no_address_is_refused_without_its_secret(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PACKSHOT_DEPOT_S3_URL", url)
    ended = run("ship", tmp_path, "s3://bucket/prefix")

    one_line(ended, 69, "PACKSHOT_DEPOT_S3_URL")
    assert SECRET not in ended[1]


def test_nothing_is_shipped_to_a_destination_that_was_not_given(run: Run, here: Path) -> None:
    depot = TestDepot(here / "depot")
    depot.release()
    before = set(here.iterdir())

    one_line(run("ship", depot.folder, ""), 69, "HOST:/FOLDER")
    assert set(here.iterdir()) == before


def test_only_a_layer_s_document_is_signed_as_one(run: Run, tmp_path: Path) -> None:
    depot, key = TestDepot(tmp_path / "depot"), tmp_path / "key"
    run("keygen", key)

    words = ("sign", f"../releases/{depot.release()}", "--depot", depot.folder, "--key", key)
    one_line(run(*words), 65, "layer")


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst"])
def test_no_delta_is_made_of_an_archive_that_is_damaged_or_gone(
    run: Run, tmp_path: Path, form: str
) -> None:
    depot = TestDepot(tmp_path)
    archive = depot.archive(tar_of(members_of(ENV)), form)
    base, digest = depot.layer("env", APP), depot.layer("env", ENV, [archive])
    path, asked = tmp_path / "archives" / archive.name, ("--base", base, "--depot", tmp_path)
    whole = path.read_bytes()

    for damaged in (whole[: len(whole) // 2], NO_TEXT, b""):
        path.write_bytes(damaged)
        one_line(run("delta", digest, *asked), 77, archive.name, "pack")
    path.unlink()
    one_line(run("delta", digest, *asked), 66, digest)


@pytest.mark.parametrize("content", [b'{"path": 1, "completed": "x"}', b"{}", DEEP, NO_TEXT])
@pytest.mark.parametrize(
    ("name", "command"),
    [(f"app/{DIGEST}.complete", ["activate", "--unchecked", "test-1"]), ("canary.json", ["list"])],
)
def test_a_host_s_own_note_that_is_damaged_is_named(
    run: Run, tmp_path: Path, name: str, command: Sequence[str], content: bytes
) -> None:
    depot, root = TestDepot(tmp_path / "depot"), tmp_path / "root"
    release = depot.release(app=depot.layer("app", APP))
    words = ("--root", root, "--depot", depot.folder, "--key", depot.signer.public)
    assert run("unpack", release, *words)[0] == 0
    (app,) = (path.stem for path in (root / "app").glob("*.json"))
    note = root / name.replace(DIGEST, app)
    note.write_bytes(content)

    one_line(run(*command, "--root", root), 65, str(note), "packshot-env")


def test_what_no_environment_is_was_not_scanned(run: Run, tmp_path: Path) -> None:
    one_line(run("scan", tmp_path), 66, str(tmp_path))
    one_line(run("scan", tmp_path / "missing"), 66, "missing")


def test_a_wheel_that_writes_elsewhere_is_refused(run: Run, tmp_path: Path) -> None:
    wheel = tmp_path / "packshot-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../elsewhere.py", "")

    one_line(run("app", "--wheel", wheel, "--depot", tmp_path / "depot"), 65, "elsewhere.py")


def test_sums_name_the_file_that_differs_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("{}")
    lines = [f"{DIGEST}  vae/config.json", f"{DIGEST} *./vae/gone.json"]
    (tmp_path / "SHA256SUMS").write_text("\n".join(lines))

    found = differences_from_sums(tmp_path)

    assert found == ["vae/config.json: differs", "vae/gone.json: is missing"]


@pytest.mark.parametrize("sums", [b"", b"no sum", NO_TEXT])
def test_sums_that_compare_nothing_are_no_proof(run: Run, tmp_path: Path, sums: bytes) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(sums)

    one_line(run("model", "verify", tmp_path), 65, "SHA256SUMS")


def test_what_is_not_there_says_so(run: Run, tmp_path: Path) -> None:
    one_line(run("node-file", tmp_path / "no" / "node.pyz"), 66, str(tmp_path / "no"))
    one_line(run("node-file", tmp_path), 69, f"{tmp_path}: is a folder")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "a user who may"), (errno.EROFS, "written")],
)
def test_what_a_disk_refuses_is_named_with_a_way_out(
    capsys: pytest.CaptureFixture[str], number: int, advice: str
) -> None:
    def refused(_: object) -> commands.Answer:
        raise OSError(number, os.strerror(number), "target", None, "the link")

    table = {"try": commands.Command("", lambda _: None, refused)}

    assert commands.main("packshot-env", "", table, ["try"]) == 74
    assert re.fullmatch(rf"packshot-env: the link: .*{advice}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("ends", "code", "error"),
    [
        ("return Answer('', 'x' * 1_000_000)", 141, b""),
        ("return Answer('', 'x' * 1_000_000, 1)", 1, b""),
        ("raise NotThere('gone')", 66, b"p: gone\n"),
    ],
)
def test_an_answer_that_nobody_reads_is_no_success(ends: str, code: int, error: bytes) -> None:
    script = f"""
import sys
from envpack.node.commands import Answer, Command, main
from envpack.node.errors import NotThere
def run(_): {ends}
sys.exit(main("p", "", {{"try": Command("", lambda _: None, run)}}, ["try", "--json"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == error

    assert process.returncode == code


def test_a_name_where_a_whole_digest_is_meant_says_so(run: Run, tmp_path: Path) -> None:
    for words in (
        ("ship", tmp_path, tmp_path / "there", "--release", "2026.11.27-1"),
        ("sign", DIGEST[:12], "--depot", tmp_path, "--key", secret_key(tmp_path)),
    ):
        one_line(run(*words), 65, "64 hexadecimal digits")


def test_a_public_key_that_is_given_as_the_secret_one_is_told(run: Run, tmp_path: Path) -> None:
    public = secret_key(tmp_path).with_suffix(".pub")

    one_line(run("sign", DIGEST, "--depot", tmp_path, "--key", public), 65, "a public key signs")


def test_what_is_no_checkout_is_named_with_the_option_that_names_one(
    run: Run, tmp_path: Path
) -> None:
    words = ("app", "--depot", tmp_path / "depot", "--project", tmp_path)

    one_line(run(*words), 70, str(tmp_path), "--project")


@pytest.mark.parametrize("words", [["model", "add", "w", "--depot", ""], ["ship", "", "there"]])
def test_a_variable_that_was_not_set_is_not_the_folder_that_one_stands_in(
    run: Run, here: Path, words: Sequence[str]
) -> None:
    (here / "w").mkdir()
    (here / "w/weights.bin").touch()
    before = sorted(here.rglob("*"))

    with pytest.raises(SystemExit):
        run(*words)

    assert sorted(here.rglob("*")) == before


def test_no_negative_count_is_taken_for_none(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run("prune", "--root", tmp_path, "--keep=-1")


def secret_key(folder: Path) -> Path:
    path = folder / "keys" / "release.key"
    if not path.exists():
        make_key(path, path.with_suffix(".pub"))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "vae").mkdir(parents=True)
    (folder / "vae/w.bin").write_bytes(b"weights")
    (folder / "vae/twin.bin").symlink_to("w.bin")
    (tmp_path / "blob").write_bytes(b"blob")
    return folder


def added(run: Run, weights: Path, *more: str) -> tuple[int, str]:
    return run("model", "add", weights, "--depot", weights.with_name("depot"), *more)


def test_a_link_out_of_a_model_is_followed_only_where_somebody_says_so(
    run: Run, weights: Path
) -> None:
    assert added(run, weights)[0] == 0
    (weights / "text.bin").symlink_to("../blob")

    one_line(added(run, weights), 65, "text.bin", "--follow-links")
    assert added(run, weights, "--follow-links")[0] == 0
    stored = {path.read_bytes() for path in weights.with_name("depot").glob("files/*")}
    assert stored == {b"weights", b"blob"}


@pytest.mark.parametrize(
    ("umask", "folder", "file"),
    [(0o077, 0o755, 0o644), (0o027, 0o755, 0o644), (0o002, 0o775, 0o664)],
)
def test_a_depot_is_for_others_to_read_whoever_fills_and_ships_it(
    run: Run, weights: Path, umask: int, folder: int, file: int
) -> None:
    """Who else may write, the umask decides: a group may fill one depot."""
    depot, away = weights.with_name("depot"), weights.with_name("away")
    secret = weights.with_name("release.key")
    before = os.umask(umask)
    try:
        assert added(run, weights)[0] == run("ship", depot, away)[0] == 0
        assert run("keygen", secret)[0] == 0
    finally:
        os.umask(before)

    modes = {path: path.stat().st_mode & 0o777 for path in (*depot.rglob("*"), *away.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {folder}
    assert {mode for path, mode in modes.items() if path.is_relative_to(depot)} == {folder, file}
    assert {mode for path, mode in modes.items() if path.is_relative_to(away)} == {folder, 0o644}
    assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("target", ["nowhere", "vae", "odd"])
def test_a_link_that_brings_no_file_is_not_left_out_silently(
    run: Run, weights: Path, target: str
) -> None:
    (weights / "odd").symlink_to(target)

    one_line(added(run, weights, "--follow-links"), 65, "weights/odd")


def test_weights_that_differ_from_their_sums_are_not_packed(run: Run, weights: Path) -> None:
    (weights / ".hidden").touch()
    lines = [f"{DIGEST}  vae/w.bin", f"{DIGEST}  .hidden"]
    (weights / "SHA256SUMS").write_text("\n".join(lines))

    one_line(added(run, weights), 65, ".hidden, vae/w.bin", "SHA256SUMS")
    assert not list(weights.with_name("depot").rglob("*"))


def test_a_key_that_is_not_there_is_told_before_anything_is_packed(run: Run, weights: Path) -> None:
    one_line(added(run, weights, "--key", "no.key"), 66, "no.key")

    assert not weights.with_name("depot").exists()


def test_a_model_that_is_not_there_says_so(run: Run, tmp_path: Path) -> None:
    one_line(added(run, tmp_path / "none"), 66, str(tmp_path / "none"))
