"""Keys and signatures are minisign's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from envpack.node import minisign
from envpack.node.errors import InvalidManifest, NotTrusted, Unsuitable
from envpack.node.minisign import PublicKey
from envpack.pack.sign import SecretKey, make_key, public_text


def test_a_signature_is_one_that_the_host_verifies(key: SecretKey) -> None:
    text = key.signature(b"document", "file:releases/a.json")

    signature = minisign.Signature.from_text(text)
    assert minisign.verify("it", b"document", signature, [key.public]) == "file:releases/a.json"
    with pytest.raises(NotTrusted):
        minisign.verify("it", b"other", signature, [key.public])


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_minisign_reads_these_keys_and_verifies_these_signatures(
    key: SecretKey, tmp_path: Path
) -> None:
    (tmp_path / "ours").write_bytes(b"document")
    (tmp_path / "ours.minisig").write_text(key.signature(b"document", "of ours"))
    (tmp_path / "theirs").write_bytes(b"document")

    def run(*words: str) -> str:
        done = subprocess.run(
            ["minisign", *words], check=True, capture_output=True, text=True, cwd=tmp_path
        )
        return done.stdout

    assert "Trusted comment: of ours" in run("-V", "-m", "ours", "-p", "public.pub")
    run("-S", "-s", "secret.key", "-m", "theirs", "-t", "of theirs")
    theirs = minisign.Signature.from_text((tmp_path / "theirs.minisig").read_text())
    assert minisign.verify("it", b"document", theirs, [key.public]) == "of theirs"
    run("-G", "-W", "-p", "own.pub", "-s", "own.key")
    own = SecretKey.read(tmp_path / "own.key")
    assert public_text(own.public) == (tmp_path / "own.pub").read_text()


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_a_key_whose_number_begins_with_zeros_is_named_as_minisign_names_it(
    key: SecretKey, tmp_path: Path
) -> None:
    public = PublicKey(bytes([1, 2, 3, 4, 5, 6, 7, 0]), key.public.key)
    low = SecretKey(key_id=public.key_id, seed=key.seed, public=public)
    (tmp_path / "low.key").write_text(low.as_text())

    recreate = ["minisign", "-R", "-s", "low.key", "-p", "low.pub"]
    subprocess.run(recreate, check=True, capture_output=True, cwd=tmp_path)

    assert public.name == "7060504030201"
    assert public_text(public) == (tmp_path / "low.pub").read_text()


def test_a_secret_key_is_neither_replaced_nor_shared_nor_shown(
    key: SecretKey, tmp_path: Path
) -> None:
    with pytest.raises(Unsuitable, match="never replaced"):
        make_key(tmp_path / "secret.key", tmp_path / "other.pub")
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)
    (tmp_path / "secret.key").chmod(0o640)
    with pytest.raises(Unsuitable, match="others can read it"):
        SecretKey.read(tmp_path / "secret.key")


def test_a_secret_key_that_cannot_be_used_is_named_without_its_content(key: SecretKey) -> None:
    comment, line = key.as_text().splitlines()
    damaged = f"{comment}\n{line[:-8]}AAAAAAA=\n"

    for text in ("", "no key\n", damaged):
        with pytest.raises(InvalidManifest, match="secret key") as caught:
            SecretKey.from_text(text)
        assert line[60:80] not in str(caught.value)


def test_a_key_with_a_password_is_refused_with_the_way_out(key: SecretKey) -> None:
    comment, line = key.as_text().splitlines()
    encrypted = line.replace("RWQAAEIy", "RWRTY0Iy", 1)  # kdf "Sc" instead of none

    assert encrypted != line
    with pytest.raises(InvalidManifest, match="has a password"):
        SecretKey.from_text(f"{comment}\n{encrypted}\n")
