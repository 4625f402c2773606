"""Public keys and signatures as minisign writes them, verified here without it.

A public key is ``Ed``, eight bytes of key id and the key; a signature ``Ed`` (of the message) or
``ED`` (of its BLAKE2b-512), the key id and 64 bytes.  A second signature binds the comment to it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from envpack.node import ed25519
from envpack.node.errors import InvalidManifest, NotTrusted

PLAIN, PREHASHED = b"Ed", b"ED"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "
#: Files of keys and signatures are a few hundred bytes; more is something else.
MAX_BYTES = 16384
_ADVICE = "try again, and if that does not help, sign and ship it again"


@dataclass(frozen=True)
class PublicKey:
    """Whose signatures count."""

    key_id: bytes  #: 8 bytes, by which a signature names its key
    key: bytes  #: 32 bytes

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """A ``.pub`` file, or its second line alone.  Raises ``InvalidManifest``."""
        lines = [line for line in text.splitlines() if line and not line.startswith(UNTRUSTED)]
        if len(lines) != 1:
            raise InvalidManifest(f"public key: one line in base64, got {len(lines)}")
        raw = _decoded("public key", lines[0], 42)
        if raw[:2] != PLAIN:
            raise InvalidManifest(f"public key: of another kind than Ed25519, {raw[:2]!r}")
        return cls(raw[2:10], raw[10:])

    @property
    def name(self) -> str:
        """As minisign prints it."""
        return key_name(self.key_id)


@dataclass(frozen=True)
class Signature:
    """What stands in a ``.minisig`` file; nothing of it is true before ``verify``."""

    algorithm: bytes
    key_id: bytes
    signature: bytes
    comment: str
    comment_signature: bytes

    @classmethod
    def from_text(cls, text: str) -> Signature:
        """Raises ``InvalidManifest``."""
        lines = text.splitlines()
        whole = len(lines) == 4 and lines[0].startswith(UNTRUSTED) and lines[2].startswith(TRUSTED)
        if not whole:
            raise InvalidManifest("signature: four lines, as minisign writes them")
        raw = _decoded("signature", lines[1], 74)
        if raw[:2] not in (PLAIN, PREHASHED):
            raise InvalidManifest(f"signature: of an unknown kind, {raw[:2]!r}")
        comment = lines[2][len(TRUSTED) :]
        bound = _decoded("signature of the comment", lines[3], 64)
        return cls(raw[:2], raw[2:10], raw[10:], comment, bound)


def verify(what: str, message: bytes, signature: Signature, keys: Iterable[PublicKey]) -> str:
    """The trusted comment, once one of ``keys`` signed it and the message.

    Raises ``NotTrusted`` saying ``what`` was not signed, or by which key it was.
    """
    known = list(keys)
    key = next((one for one in known if one.key_id == signature.key_id), None)
    if key is None:
        names = ", ".join(one.name for one in known) or "none"
        raise NotTrusted(
            f"{what}: signed with key {key_name(signature.key_id)}; trusted here: {names}:"
            " --key names who is trusted"
        )
    prehashed = signature.algorithm == PREHASHED
    signed = blake2b(message).digest() if prehashed else message
    if not ed25519.is_valid(key.key, signed, signature.signature):
        raise NotTrusted(f"{what}: not what key {key.name} signed: {_ADVICE}")
    bound = signature.signature + signature.comment.encode()
    if not ed25519.is_valid(key.key, bound, signature.comment_signature):
        raise NotTrusted(
            f"{what}: its trusted comment is not what key {key.name} signed: {_ADVICE}"
        )
    return signature.comment


def key_name(key_id: bytes) -> str:
    # minisign prints a number: without the zeros that one id in sixteen begins with.
    return f"{int.from_bytes(key_id, 'little'):X}"


def _decoded(what: str, line: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise InvalidManifest(f"{what}: base64, got {line[:80]!r}") from fault
    if len(raw) != size:
        raise InvalidManifest(f"{what}: {size} bytes, got {len(raw)}")
    return raw
