"""``packshot serve``: the HTTP API as a process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

import click

from jobs import log as logs
from producer.listening import listener, url

# Drivers and the web framework are imported where they are used.
if TYPE_CHECKING:
    import uvicorn

    from producer.client import Client

log = logging.getLogger(__name__)

GRACE: Final = 10  # seconds for requests in hand, once told to stop
LAST_WORDS: Final = 1.0  # seconds for their threads, after that


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Port; 0 takes a free one.",
)
@click.option("--log-json", is_flag=True, help="Log JSON lines.")
def serve(host: str, port: int, *, log_json: bool) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C.

    It authenticates nobody: let a proxy do that before it listens on more than this machine.
    """
    from jobs.connect import connect as connect_services  # noqa: PLC0415 - keeps imports cheap
    from jobs.settings import ProducerSettings  # noqa: PLC0415
    from producer.bootstrap import connect  # noqa: PLC0415

    settings = ProducerSettings.load()
    logs.set_up(as_json=log_json or settings.log_json)
    with closing(connect_services(settings)) as services:
        services.check()
    with listener(host, port, options="--host, --port") as ours, connect(settings) as client:
        _run(_server(client), ours)
    leave()


def _server(client: Client) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - keeps imports cheap

    from producer.api.app import create_app  # noqa: PLC0415

    # Their lines are for their own developers; what is wrong with a request is told by the app.
    for library in ("uvicorn", "python_multipart"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    return uvicorn.Server(
        uvicorn.Config(
            create_app(client),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
    )


def _run(server: uvicorn.Server, ours: socket.socket) -> None:
    # Uvicorn stops by itself, and then repeats the signal to whoever listened before it: if
    # that were Python, the process would die of it, with the client still open.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    log.info("api_ready", extra={"url": url(ours)})
    server.run(sockets=[ours])
    log.info("api_ended")


def leave() -> None:
    """End the process although a request waits, say, for a ledger that is frozen.

    Python would wait for its thread, and so for the ledger.
    """
    deadline = time.monotonic() + LAST_WORDS
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    stuck = [one for one in others if not one.daemon and not _ended(one, deadline)]
    if stuck:
        log.warning("requests_abandoned", extra={"threads": len(stuck)})
        sys.stdout.flush()
        os._exit(0)


def _ended(thread: threading.Thread, deadline: float) -> bool:
    thread.join(max(0.0, deadline - time.monotonic()))
    return not thread.is_alive()
