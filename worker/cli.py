"""``packshot-worker``: run one worker on one card, ask how it is, look for what is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from jobs import log
from jobs.errors import JobsError, Unavailable
from worker.bootstrap import run as run_worker
from worker.health import ask
from worker.settings import WorkerSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Workers: one process, one card, one engine."""


@cli.command()
@click.option("--card", help="cpu:0, an index, or GPU-<uuid>.")
@click.option("--engine", type=click.Choice(["diffusers", "fake"]))
@click.option("--model", help="Name of the model to serve.")
@click.option("--model-dir", type=click.Path(path_type=Path), help="Folder of its weights.")
@click.option("--log-json", is_flag=True, default=None, help="Log JSON lines.")
def run(**options: object) -> None:
    """Load the engine, then work until SIGTERM.  Options go before PACKSHOT_… variables."""
    settings = WorkerSettings.load()
    settings = settings.model_copy(update={k: v for k, v in options.items() if v is not None})
    log.set_up(as_json=settings.log_json)
    code = run_worker(settings)
    # Celery's threads may still wait on a socket; nothing of ours is left to do.
    sys.stdout.flush()
    os._exit(code)


@cli.command()
@click.option("--port", type=int, help="PACKSHOT_HEALTH_PORT of the worker.")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
def health(port: int | None, *, ready: bool) -> None:
    """Ask a worker of this machine how it is; exit code 6 if it is not well."""
    found = ask(port or WorkerSettings.load().health_port, "/readyz" if ready else "/livez")
    print(json.dumps(found))
    if not found.get("ok"):
        sys.exit(Unavailable.exit_code)


def main() -> None:
    try:
        cli.main(standalone_mode=True)
    except JobsError as error:
        print(f"packshot-worker: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
