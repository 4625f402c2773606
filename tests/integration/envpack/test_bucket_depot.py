"""A host takes a release out of a real bucket, its requests signed with the standard library."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio

from envpack.node.depot import depot
from envpack.node.errors import NotThere
from envpack.node.host import Host
from envpack.node.minisign import PublicKey
from envpack.node.trust import Trusted
from envpack.node.unpack import unpack
from tests.envpack_depot import SIGNER, TestDepot


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Minio, str]:
    parts = urlsplit(s3_url)
    place = parts.netloc.rpartition("@")[2]
    monkeypatch.setenv("PACKSHOT_DEPOT_S3_URL", f"{parts.scheme}://{parts.netloc}")
    client = Minio(
        place,
        access_key=parts.username or "",
        secret_key=parts.password or "",
        secure=parts.scheme == "https",
    )
    name = f"depot-{secrets.token_hex(6)}"
    client.make_bucket(name)
    return client, name


def test_a_release_comes_out_of_a_bucket(bucket: tuple[Minio, str], tmp_path: Path) -> None:
    client, name = bucket
    made = TestDepot(tmp_path / "depot")
    release = made.release()
    for path in sorted((tmp_path / "depot").rglob("*")):
        if path.is_file():
            key = f"a-depot/{path.relative_to(tmp_path / 'depot')}"
            client.fput_object(name, key, str(path))
    place = depot(f"s3://{name}/a-depot")
    trusted = Trusted(place, [PublicKey.from_text(SIGNER.public)])

    done = unpack(Host(tmp_path / "root"), trusted, release)

    assert done.fresh == ("env", "app", "model")


def test_what_is_not_in_the_bucket_is_said_to_be_missing(bucket: tuple[Minio, str]) -> None:
    trusted = Trusted(depot(f"s3://{bucket[1]}/nothing"), [PublicKey.from_text(SIGNER.public)])

    with pytest.raises(NotThere, match="releases/aaaa"):
        trusted.release("a" * 64)
