"""RFC 8032's vectors hold, and nothing else does."""

from __future__ import annotations

import pytest

from envpack.node.ed25519 import is_valid
from tests.envpack_signer import ORDER, Signer

#: RFC 8032, section 7.1: secret, key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]
SIGNER = Signer(b"\x07" * 32)
MESSAGE = b"what was tested is what runs"
SIGNATURE = SIGNER.raw(MESSAGE)

#: Encodings of the eight points of small order (order 1, 2, 4, 8).
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]


@pytest.mark.parametrize(("secret", "key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc_hold(secret: str, key: str, message: str, signature: str) -> None:
    signer = Signer(bytes.fromhex(secret))

    assert is_valid(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))
    assert signer.key.hex() == key  # the tests' signer makes the same
    assert signer.raw(bytes.fromhex(message)).hex() == signature


@pytest.mark.parametrize("place", [*range(0, 64, 7), 31, 32, 63])
def test_no_byte_of_a_signature_may_flip(place: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[place] ^= 1

    assert is_valid(SIGNER.key, MESSAGE, SIGNATURE)
    assert not is_valid(SIGNER.key, MESSAGE, bytes(flipped))


def test_another_message_and_another_key_are_refused() -> None:
    assert not is_valid(SIGNER.key, MESSAGE + b".", SIGNATURE)
    assert not is_valid(Signer(b"\x08" * 32).key, MESSAGE, SIGNATURE)


def test_a_scalar_has_one_spelling() -> None:
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    malleable = SIGNATURE[:32] + scalar.to_bytes(32, "little")

    assert not is_valid(SIGNER.key, MESSAGE, malleable)


@pytest.mark.parametrize("point", SMALL)
def test_keys_and_commitments_of_small_order_are_refused(point: str) -> None:
    small = bytes.fromhex(point)

    # With a key of small order this signature would hold for one message of eight.
    assert not any(is_valid(small, bytes([n]), small + bytes(32)) for n in range(16))
    assert not is_valid(SIGNER.key, MESSAGE, small + SIGNATURE[32:])


@pytest.mark.parametrize("key", ["ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f", "ff" * 32])
def test_a_key_that_is_not_canonical_is_refused(key: str) -> None:
    assert not is_valid(bytes.fromhex(key), MESSAGE, SIGNATURE)


def test_other_lengths_are_refused() -> None:
    assert not is_valid(SIGNER.key[:31], MESSAGE, SIGNATURE)
    assert not is_valid(SIGNER.key, MESSAGE, SIGNATURE[:63])
    assert not is_valid(SIGNER.key, MESSAGE, SIGNATURE + b"\0")
