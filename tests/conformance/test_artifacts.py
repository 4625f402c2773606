"""The artifact stores there are, each against the whole suite."""

from __future__ import annotations

import pytest

from jobs.s3 import S3Store
from jobs.testing import MemoryArtifacts
from tests.conformance.artifacts import ArtifactsConformance


class TestMemoryArtifacts(ArtifactsConformance):
    @pytest.fixture
    def store(self) -> MemoryArtifacts:
        return MemoryArtifacts()


class TestS3Store(ArtifactsConformance):
    @pytest.fixture
    def store(self, s3_url: str) -> S3Store:
        store = S3Store.from_url(s3_url)
        store.make_bucket()
        return store
