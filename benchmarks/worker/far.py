"""A server that is farther away: a proxy that hands each byte on ``AWAY`` seconds later.

    python -m benchmarks.worker.far PORT

says the port on which it listens, and ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from benchmarks.queue.sides import module

AWAY: Final = 0.02  # seconds, each way
CHUNK: Final = 262_144  # bytes
HOST: Final = "127.0.0.1"


@contextmanager
def away(url: str) -> Iterator[str]:
    """``url``, led through such a proxy in a process of its own."""
    parts = urlsplit(url)
    command = module("benchmarks.worker.far", str(parts.port))
    with subprocess.Popen(  # noqa: S603 - our own command line
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None, "asked for above"
            where = f"{HOST}:{int(child.stdout.readline())}"
            yield parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{where}").geturl()
        finally:
            child.kill()


async def serve(port: int) -> None:
    async def linked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, port)
            await asyncio.gather(pumped(reader, far_writer), pumped(far_reader, writer))

    server = await asyncio.start_server(linked, HOST, 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def pumped(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Bytes that follow one another closely stay so: only their way takes longer."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            loop.call_later(AWAY, target.write, chunk)
    loop.call_later(AWAY, target.close)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
