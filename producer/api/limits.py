"""Bounds a request's body while it is read, whether or not its length was announced."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.model import MAX_PICTURES
from jobs.pictures import MAX_BYTES
from producer.api.problems import problem

#: The pictures, and a mebibyte for all the rest.
MAX_BODY_BYTES: Final = MAX_PICTURES * MAX_BYTES + 2**20
MAX_FIELDS: Final = 32  # of one form
MAX_FILES: Final = 16  # more than pictures: who sends four is told so by name
TOO_LARGE: Final = (
    f"the request is larger than {MAX_BODY_BYTES // 2**20} MiB: at most {MAX_PICTURES} pictures of"
    f" {MAX_BYTES // 2**20} MiB"
)


class BoundedBody:
    """ASGI middleware: 413 at once for a longer ``Content-Length``, else as soon as it is seen."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _announced(scope) > self.limit:
            # The connection stays open: a client that is still sending would see it reset
            # and never read the answer.
            await problem(413, "too_large", TOO_LARGE)(scope, receive, send)
        else:
            await self.app(scope, self._counting(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise HTTPException(413, TOO_LARGE)
            return message

        return counted


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
