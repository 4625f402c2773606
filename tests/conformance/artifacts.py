"""What every artifact store keeps to: subclass it with a fixture ``store``."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from jobs.artifacts import ArtifactStore
from jobs.errors import NoSuchArtifact
from jobs.model import ArtifactKey

EVERY_BYTE = bytes(range(256)) * 64


class ArtifactsConformance:
    """Each test has a tenant of its own, so that a store may be one that others use too."""

    @pytest.fixture
    def tenant(self) -> str:
        return f"tenant-{secrets.token_hex(4)}"

    @pytest.fixture
    def key(self, tenant: str) -> ArtifactKey:
        return ArtifactKey(f"{tenant}/inputs/shirt")

    def test_what_is_put_is_got(self, store: ArtifactStore, key: ArtifactKey) -> None:
        store.put(key, EVERY_BYTE, media_type="image/png")

        assert store.get(key) == EVERY_BYTE
        assert store.exists(key)

    def test_nothing_at_all_can_be_stored(self, store: ArtifactStore, key: ArtifactKey) -> None:
        store.put(key, b"", media_type="image/png")

        assert store.get(key) == b""

    def test_putting_the_same_again_is_no_error(
        self, store: ArtifactStore, key: ArtifactKey
    ) -> None:
        store.put(key, b"pixels", media_type="image/png")
        store.put(key, b"pixels", media_type="image/png")

        assert store.get(key) == b"pixels"

    def test_what_is_not_there_is_named(self, store: ArtifactStore, key: ArtifactKey) -> None:
        assert not store.exists(key)

        with pytest.raises(NoSuchArtifact, match=key):
            store.get(key)

    def test_what_is_deleted_is_gone(self, store: ArtifactStore, key: ArtifactKey) -> None:
        store.put(key, b"pixels", media_type="image/png")
        store.delete([key])

        assert not store.exists(key)

    def test_deleting_what_is_not_there_is_no_error(
        self, store: ArtifactStore, tenant: str, key: ArtifactKey
    ) -> None:
        store.put(key, b"pixels", media_type="image/png")
        store.delete([ArtifactKey(f"{tenant}/inputs/none"), key])
        store.delete([])

        assert not store.exists(key)

    def test_keys_are_found_by_prefix(self, store: ArtifactStore, tenant: str) -> None:
        names = ("inputs/shirt", "inputs/mug", "outputs/shirt")
        shirt, mug, output = (ArtifactKey(f"{tenant}/{name}") for name in names)
        for key in (shirt, mug, output):
            store.put(key, b"pixels", media_type="image/png")

        assert {*store.keys(f"{tenant}/inputs/")} == {shirt, mug}
        assert {*store.keys(f"{tenant}/")} == {shirt, mug, output}
        assert {*store.keys(f"{tenant}/none/")} == set()

    def test_what_is_stored_tells_its_size_and_age(
        self, store: ArtifactStore, tenant: str, key: ArtifactKey
    ) -> None:
        store.put(key, EVERY_BYTE, media_type="image/png")

        (one,) = store.stored(f"{tenant}/")

        assert (one.key, one.bytes) == (key, len(EVERY_BYTE))
        assert abs(datetime.now(UTC) - one.at) < timedelta(minutes=1)

    def test_a_link_is_made_whether_the_key_exists_or_not(
        self, store: ArtifactStore, key: ArtifactKey
    ) -> None:
        link = store.link(key, expires=timedelta(minutes=5))

        assert "://" in link
        assert key in link
