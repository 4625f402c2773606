"""Files of minisign: both kinds of signature, the comment, the key's id."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from envpack.node.errors import InvalidManifest, NotTrusted
from envpack.node.minisign import PublicKey, Signature, verify
from tests.envpack_signer import Signer

SIGNER = Signer(b"\x01" * 32)
KEY = PublicKey.from_text(SIGNER.public)
MESSAGE = b'{"release": 7}'


@pytest.mark.parametrize("legacy", [False, True])
def test_both_kinds_of_signature_hold_and_give_their_comment(legacy: bool) -> None:  # noqa: FBT001
    text = SIGNER.minisig(MESSAGE, comment="release 7", legacy=legacy)

    assert verify("release", MESSAGE, Signature.from_text(text), [KEY]) == "release 7"


def test_a_key_and_a_signature_that_minisign_itself_made_hold() -> None:
    # From minisign's own page, with the file that it signs there.
    key = PublicKey.from_text("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
    signature = Signature.from_text(
        "untrusted comment: signature from minisign secret key\n"
        "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/"
        "z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n"
        "trusted comment: timestamp:1633700835\tfile:test\tprehashed\n"
        "wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n"
    )

    assert key.name == "E7620F1842B4E81F"
    assert verify("test", b"test", signature, [key]).startswith("timestamp:1633700835")


def test_another_message_is_not_trusted() -> None:
    signature = Signature.from_text(SIGNER.minisig(MESSAGE))

    with pytest.raises(NotTrusted, match=r"release: not what key 807060504030201 signed"):
        verify("release", MESSAGE + b" ", signature, [KEY])


def test_a_comment_cannot_be_moved_to_another_signature() -> None:
    here, there = (SIGNER.minisig(MESSAGE, comment=text).splitlines() for text in ("one", "two"))
    mixed = "\n".join([*here[:2], *there[2:]])
    renamed = "\n".join([*here[:2], "trusted comment: other", here[3]])

    assert verify("release", MESSAGE, Signature.from_text("\n".join(here)), [KEY]) == "one"
    for text in (renamed, mixed.replace("two", "three")):
        with pytest.raises(NotTrusted, match="trusted comment"):
            verify("release", MESSAGE, Signature.from_text(text), [KEY])


def test_an_unknown_key_is_named_beside_those_that_are_trusted() -> None:
    stranger = Signer(b"\x02" * 32, key_id=b"\xff" * 8)
    signature = Signature.from_text(stranger.minisig(MESSAGE))

    with pytest.raises(NotTrusted, match="key FFFFFFFFFFFFFFFF; trusted here: 807060504030201"):
        verify("release", MESSAGE, signature, [KEY])


def test_a_stranger_who_borrows_the_key_id_is_refused() -> None:
    stranger = Signer(b"\x02" * 32)

    with pytest.raises(NotTrusted, match="not what key"):
        verify("release", MESSAGE, Signature.from_text(stranger.minisig(MESSAGE)), [KEY])


@pytest.mark.parametrize(
    "text", ["", "no", SIGNER.minisig(b"")[:-40], SIGNER.minisig(b"").replace("RU", "XX", 1)]
)
def test_what_is_no_signature_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidManifest, match="signature"):
        Signature.from_text(text)


@pytest.mark.parametrize("text", ["", "RW", SIGNER.public * 2, "A" * 56])
def test_what_is_no_key_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidManifest, match="public key"):
        PublicKey.from_text(text)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_minisign_verifies_what_the_tests_sign(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(MESSAGE)
    (tmp_path / "file.minisig").write_text(SIGNER.minisig(MESSAGE, comment="release 7"))
    (tmp_path / "key.pub").write_text(SIGNER.public)

    command = ["minisign", "-V", "-p", str(tmp_path / "key.pub"), "-m", str(tmp_path / "file")]
    subprocess.run(command, check=True, capture_output=True)
