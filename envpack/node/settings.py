"""What the environment says to a host: ``PACKSHOT_…``, read once; options come before it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from envpack.node.errors import Unsuitable

ROOT = "PACKSHOT_ROOT"
DEPOT = "PACKSHOT_DEPOT"
#: A minisign public key, or a file of one; several by comma while one replaces another.
KEY = "PACKSHOT_DEPOT_KEY"
#: ``https://ACCESS:SECRET@HOST[:PORT]``: not on the command line, where everybody can read it.
DEPOT_S3_URL = "PACKSHOT_DEPOT_S3_URL"
DEPOT_S3_REGION = "PACKSHOT_DEPOT_S3_REGION"


@dataclass(frozen=True)
class BucketServer:
    """Where a bucket is, and who asks."""

    url: str  #: ``https://host[:port]``
    access: str
    secret: str = field(repr=False)
    region: str


@dataclass(frozen=True)
class Settings:
    root: str
    depot: str
    keys: tuple[str, ...]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        keys = tuple(key.strip() for key in env.get(KEY, "").split(",") if key.strip())
        return cls(env.get(ROOT, ""), env.get(DEPOT, ""), keys)


def settings() -> Settings:
    return Settings.from_env(os.environ)  # noqa: TID251 - this is the settings module


def bucket_server(env: Mapping[str, str] | None = None) -> BucketServer:
    """Raises ``Unsuitable``; never shows what the setting holds."""
    env = os.environ if env is None else env  # noqa: TID251 - this is the settings module
    parts = split_url(DEPOT_S3_URL, env.get(DEPOT_S3_URL, ""))
    is_web = parts.scheme in {"http", "https"} and parts.hostname
    if not (is_web and parts.username and parts.password):
        raise Unsuitable(f"{DEPOT_S3_URL}: not set to https://ACCESS:SECRET@HOST[:PORT]")
    return BucketServer(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        access=unquote(parts.username),
        secret=unquote(parts.password),
        region=env.get(DEPOT_S3_REGION, "us-east-1"),
    )


def split_url(what: str, text: str) -> SplitResult:
    """Raises ``Unsuitable``; never shows what it holds, which may be a secret."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - a property that raises
    except ValueError:
        raise Unsuitable(f"{what}: no URL: its host or its port cannot be read") from None
    return parts


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead an unpacked Python elsewhere."""
    astray = {"PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "CONDA_PREFIX"}
    kept = {k: v for k, v in os.environ.items() if k not in astray}  # noqa: TID251 - here
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
