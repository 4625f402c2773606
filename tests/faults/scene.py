"""Scenes on servers of their own, which their tests pause and kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from standalone.servers import Servers
from tests import scene
from tests.scene import SHORT_LEASE, Worker

__all__ = ["SHORT_LEASE", "Scene", "Worker", "scene_on"]


@dataclass(kw_only=True)
class Scene(scene.Scene):
    servers: Servers


@contextmanager
def scene_on(servers: Servers, folder: Path) -> Iterator[Scene]:
    # A worker that was killed before it could acknowledge leaves its message there for a day.
    redis.Redis.from_url(servers.redis.url).flushall()
    with scene.opened(servers.environment(), folder, partial(Scene, servers=servers)) as made:
        yield made
