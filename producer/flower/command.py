"""``packshot flower``: Flower as a process, for those who may see it."""

from __future__ import annotations

import logging
import signal
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from jobs import log as logs
from jobs.errors import BadSettings
from jobs.keys import UNSERVED_GROUP
from jobs.model import queue_name
from producer.flower.queues import Queues
from producer.listening import listener, url

# Drivers and Flower are imported where they are used.
if TYPE_CHECKING:
    from celery import Celery
    from pydantic import SecretStr

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any but loopback needs PACKSHOT_FLOWER_AUTH.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=5555,
    show_default=True,
    help="Port; 0 takes a free one.",
)
@click.option("--log-json", is_flag=True, help="Log JSON lines.")
def flower(address: str, port: int, *, log_json: bool) -> None:
    """Watch workers and messages in a browser, until SIGTERM or Ctrl-C.

    Flower, read-only, for those whose user:password stands in PACKSHOT_FLOWER_AUTH
    (several by comma).  Its own settings, FLOWER_…, hold beside that.
    """
    from flower.command import flower as pages  # noqa: PLC0415 - may not be installed

    from jobs.connect import connect  # noqa: PLC0415 - keeps imports cheap
    from producer.settings import FlowerSettings  # noqa: PLC0415

    settings = FlowerSettings.load()
    auth = settings.flower_auth
    with listener(address, port, options="--address, --port") as ours:
        where, (host, port) = url(ours), ours.getsockname()[:2]
    if auth is None and not ip_address(host).is_loopback:
        raise BadSettings(
            "PACKSHOT_FLOWER_AUTH is not set (USER:PASSWORD): without a password nobody but this"
            f" machine may look, and --address {address} lets others in"
        )
    logs.set_up(as_json=log_json or settings.log_json)
    with closing(connect(settings)) as services:
        unserved = queue_name(settings.model, UNSERVED_GROUP)
        services.dispatcher.length(unserved)  # a Redis that is away is told now, in one line
        app = services.dispatcher.app
        log.info("flower_starts", extra={"url": where, "redis": services.dispatcher.where})
        with Queues(app.conf, services.ledger, otherwise=unserved):
            _run(pages, app, _arguments(host, port, auth))
    log.info("flower_ended")


def _arguments(host: str, port: int, auth: SecretStr | None) -> list[str]:
    """They go before Flower's own settings, and stay inside this process: ``ps`` shows none."""
    ours = [f"--address={host}", f"--port={port}"]
    return ours if auth is None else [*ours, f"--basic_auth={auth.get_secret_value()}"]


def _run(pages: Any, app: Celery, arguments: list[str]) -> None:  # noqa: ANN401 - it has no types
    """Flower's command as ``celery flower`` calls it, on our app.

    Not by ``app.start``: that takes app and broker from the variables APP and BROKER_URL,
    whomever they belong to.
    """
    from celery.bin.base import CLIContext  # noqa: PLC0415 - keeps imports cheap
    from flower.options import options  # noqa: PLC0415

    # Flower hears SIGTERM by itself.  Who is started in a shell's background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options.read_only = True  # unless FLOWER_READ_ONLY says otherwise
    context = CLIContext(app=app, no_color=True, workdir=None, quiet=True)
    celery = click.Context(click.Group("celery"), obj=context)
    pages.main(arguments, prog_name="flower", parent=celery, standalone_mode=False)
