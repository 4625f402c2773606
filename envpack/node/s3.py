"""Signs requests for S3 (AWS Signature Version 4) with the standard library.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html; what is fetched is
compared by sha256, so no more is asked of the transport than to let us in.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

from envpack.node.settings import BucketServer

_EMPTY = sha256(b"").hexdigest()


def signed_get(server: BucketServer, url: str, now: datetime) -> dict[str, str]:
    """The headers with which ``server`` lets ``GET url`` in; ``now`` is in UTC."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    spelt = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"GET\n{parts.path}\n{parts.query}\n{spelt}\n{names}\n{_EMPTY}"
    scope = f"{stamp[:8]}/{server.region}/s3/aws4_request"
    digest = sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(_key(server, stamp[:8]), text.encode(), sha256).hexdigest()
    credential = f"Credential={server.access}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}"
    return {**headers, "Authorization": authorization}


def object_url(server: BucketServer, bucket: str, key: str) -> str:
    return f"{server.url}/{quote(bucket)}/{quote(key)}"


def _key(server: BucketServer, day: str) -> bytes:
    key = f"AWS4{server.secret}".encode()
    for part in (day, server.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), sha256).digest()
    return key
