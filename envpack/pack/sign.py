"""Keys and signatures as minisign writes them: any minisign verifies, and reads these keys.

A secret key is written without a password (``minisign -G -W``): a pipeline keeps it in a file
that only it can read.  The formats: https://jedisct1.github.io/minisign.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from envpack.node.errors import InvalidManifest, NotThere, Unsuitable
from envpack.node.minisign import PLAIN, PREHASHED, TRUSTED, UNTRUSTED, PublicKey, key_name

_UNENCRYPTED: Final = b"\0\0"
_CHECKSUM: Final = b"B2"
_SALT_AND_LIMITS: Final = 32 + 8 + 8  # bytes; nothing without a password
_SECRET_BYTES: Final = 2 + 2 + 2 + _SALT_AND_LIMITS + 8 + 64 + 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretKey:
    """Signs.  Never printed."""

    key_id: bytes  #: 8 bytes
    seed: bytes  #: 32 bytes
    public: PublicKey

    def __repr__(self) -> str:
        return f"SecretKey({self.public.name})"

    def raw_signature(self, message: bytes) -> bytes:
        """64 bytes of Ed25519."""
        signed: bytes = _private(self.seed).sign(message)
        return signed

    def signature(self, message: bytes, comment: str) -> str:
        """The text of a ``.minisig``; ``comment`` is one line, signed as well."""
        if "\n" in comment or not comment.isprintable():
            raise InvalidManifest(f"trusted comment: one line, got {comment[:80]!r}")
        signed = self.raw_signature(blake2b(message).digest())
        bound = self.raw_signature(signed + comment.encode())
        return (
            f"{UNTRUSTED}signature of packshot-env\n{_spelt(PREHASHED + self.key_id + signed)}\n"
            f"{TRUSTED}{comment}\n{_spelt(bound)}\n"
        )

    def as_text(self) -> str:
        """The file of the secret key."""
        both = self.seed + self.public.key
        head = PLAIN + _UNENCRYPTED + _CHECKSUM + bytes(_SALT_AND_LIMITS)
        raw = head + self.key_id + both + _checksum(self.key_id, both)
        return f"{UNTRUSTED}minisign secret key {self.public.name}\n{_spelt(raw)}\n"

    @classmethod
    def from_text(cls, text: str) -> SecretKey:
        """Raises ``InvalidManifest``, never with what the key holds."""
        lines = [line for line in text.splitlines() if line and not line.startswith(UNTRUSTED)]
        try:
            (line,) = lines
            raw = base64.b64decode(line, validate=True)
        except (ValueError, binascii.Error):
            raise InvalidManifest("secret key: one line in base64, as minisign writes it") from None
        if len(raw) != _SECRET_BYTES or raw[:2] != PLAIN:
            raise InvalidManifest("secret key: not one of minisign's; a public key signs nothing")
        if raw[2:4] != _UNENCRYPTED:
            raise InvalidManifest(
                "secret key: has a password, which no pipeline can type; take it off with"
                " minisign -C -W, or make a key with packshot-env keygen"
            )
        key_id, both = raw[54:62], raw[62:126]
        # minisign leaves it empty where there is no password to be wrong.
        if raw[126:] not in {_checksum(key_id, both), bytes(32)}:
            raise InvalidManifest("secret key: damaged, its checksum differs")
        return cls(key_id=key_id, seed=both[:32], public=PublicKey(key_id, both[32:]))

    @classmethod
    def read(cls, path: Path) -> SecretKey:
        """Raises ``NotThere``, ``InvalidManifest``, ``Unsuitable`` where others can read it."""
        try:
            mode, text = path.stat().st_mode, path.read_text("ascii", errors="replace")
        except OSError as fault:
            raise NotThere(f"secret key {path}: {fault.strerror}") from fault
        try:
            key = cls.from_text(text)
        except InvalidManifest as fault:
            raise InvalidManifest(f"{path}: {fault}") from fault
        if mode & 0o077:
            raise Unsuitable(
                f"secret key {path}: others can read it; chmod 600 it, or make another"
            )
        return key


def make_key(secret_path: Path, public_path: Path) -> SecretKey:
    """A new pair, in two files.  Raises ``Unsuitable`` rather than replace a key."""
    if secret_path == public_path:
        raise Unsuitable(f"{secret_path}: is the public key's name too; name it with --public FILE")
    for path in (secret_path, public_path):
        if path.exists():
            raise Unsuitable(f"{path}: is there already; keys are never replaced")
        path.parent.mkdir(parents=True, exist_ok=True)
    key_id, seed = secrets.token_bytes(8), secrets.token_bytes(32)
    public = PublicKey(key_id, _private(seed).public_key().public_bytes_raw())
    key = SecretKey(key_id=key_id, seed=seed, public=public)
    file = os.open(secret_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as secret:
        secret.write(key.as_text())
    public_path.write_text(public_text(public))
    return key


def public_text(key: PublicKey) -> str:
    """The file of a public key."""
    comment = f"{UNTRUSTED}minisign public key {key_name(key.key_id)}"
    return f"{comment}\n{_spelt(PLAIN + key.key_id + key.key)}\n"


def _private(seed: bytes) -> Any:  # noqa: ANN401 - its library is imported here alone
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - only to sign
        Ed25519PrivateKey,
    )

    return Ed25519PrivateKey.from_private_bytes(seed)


def _checksum(key_id: bytes, both: bytes) -> bytes:
    return blake2b(PLAIN + key_id + both, digest_size=32).digest()


def _spelt(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
