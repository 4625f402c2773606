"""What the environment says to whoever packs and ships."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from envpack.node.errors import Unsuitable

#: ``https://ACCESS:SECRET@HOST[:PORT]``: not on the command line, where everybody can read it.
DEPOT_S3_URL: Final = "PACKSHOT_DEPOT_S3_URL"


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketServer:
    endpoint: str  #: host[:port]
    access: str
    secret: str = field(repr=False)
    secure: bool


def bucket_server(env: Mapping[str, str] | None = None) -> BucketServer:
    """Raises ``Unsuitable``; never shows what the setting holds."""
    url = (os.environ if env is None else env).get(DEPOT_S3_URL, "")  # noqa: TID251 - here
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not (parts.username and parts.password):
        raise Unsuitable(f"{DEPOT_S3_URL}: not set to https://ACCESS:SECRET@HOST[:PORT]")
    return BucketServer(
        endpoint=parts.netloc.rpartition("@")[2],
        access=unquote(parts.username),
        secret=unquote(parts.password),
        secure=parts.scheme == "https",
    )
