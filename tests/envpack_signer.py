"""Signs as minisign does: RFC 8032's reference arithmetic, for keys that guard nothing."""

from __future__ import annotations

import base64
from hashlib import blake2b, sha512

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

#: x = X/Z, y = Y/Z, x*y = T/Z.
Point = tuple[int, int, int, int]


def _sum(one: Point, other: Point) -> Point:
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, other
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> bytes:
    product = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            product = _sum(product, point)
        point = _sum(point, point)
        scalar >>= 1
    inverse = pow(product[2], -1, P)
    x, y = product[0] * inverse % P, product[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _base() -> Point:
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    x = x if x % 2 == 0 else P - x
    return x, y, 1, x * y % P


BASE = _base()


class Signer:
    """A secret of 32 bytes, and what minisign would write with it."""

    def __init__(self, secret: bytes, key_id: bytes = b"\x01\x02\x03\x04\x05\x06\x07\x08") -> None:
        digest = sha512(secret).digest()
        clamped = int.from_bytes(digest[:32], "little")
        self._scalar = clamped & ((1 << 254) - 8) | (1 << 254)
        self._nonce = digest[32:]
        self.key_id = key_id
        self.key = _times(self._scalar, BASE)

    def raw(self, message: bytes) -> bytes:
        """RFC 8032's signature."""
        nonce = int.from_bytes(sha512(self._nonce + message).digest(), "little") % ORDER
        commitment = _times(nonce, BASE)
        hashed = sha512(commitment + self.key + message).digest()
        challenge = int.from_bytes(hashed, "little") % ORDER
        scalar = (nonce + challenge * self._scalar) % ORDER
        return commitment + scalar.to_bytes(32, "little")

    @property
    def public(self) -> str:
        """The ``.pub`` file."""
        return f"untrusted comment: a test's key\n{_spelt(b'Ed' + self.key_id + self.key)}\n"

    def minisig(self, message: bytes, *, comment: str = "", legacy: bool = False) -> str:
        """The ``.minisig`` file."""
        signature = self.raw(message if legacy else blake2b(message).digest())
        head = (b"Ed" if legacy else b"ED") + self.key_id
        bound = self.raw(signature + comment.encode())
        return (
            f"untrusted comment: from a test\n{_spelt(head + signature)}\n"
            f"trusted comment: {comment}\n{_spelt(bound)}\n"
        )


def _spelt(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
