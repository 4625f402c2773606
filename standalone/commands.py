"""``packshot up`` and ``packshot demo``."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from standalone.demo import Demo
from standalone.settings import DATA_DIR, TINY_MODEL, TINY_MODEL_DIR
from standalone.system import FLOWER_USER, Plan, System
from worker.supervisor import smi
from worker.supervisor.inventory import CPU_CARD

PORTS: Final = ("api", "flower", "postgres", "redis", "s3")

_engine: Final = click.option(
    "--engine",
    type=click.Choice(["diffusers", "fake"]),
    default="diffusers",
    show_default=True,
    help="fake: loads nothing and answers in milliseconds.",
)


def _with_ports(command: click.decorators.FC) -> click.decorators.FC:
    for name in reversed(PORTS):
        command = click.option(
            f"--{name}-port", type=click.IntRange(1, 65535), help="A free one unless given."
        )(command)
    return command


@click.command()
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="Folder that keeps everything, found again on the next start.",
)
@click.option("--cards", help="Comma-separated; this machine's GPUs, or cpu:0, unless given.")
@_engine
@click.option("--model", default=TINY_MODEL, show_default=True, help="What its workers offer.")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path),
    default=TINY_MODEL_DIR,
    help="The weights; default: the small checkpoint of this checkout.",
)
@_with_ports
def up(cards: str | None, **options: object) -> None:
    """Run the whole system on this machine, with nothing installed, until Ctrl-C.

    Postgres, a Redis-compatible server and an S3 server, one worker per card, the HTTP API
    and Flower, all on loopback.
    """
    chosen = [one.strip() for one in (cards or "").split(",") if one.strip()] or _cards()
    plan = Plan(cards=chosen, **options)  # type: ignore[arg-type]
    console = Console()
    stopped = _until_signal()
    with console.status("starting Postgres, Redis, S3, workers, API and Flower"):
        system = System(plan)
        system.start()
    try:
        with console.status("loading the model"):
            system.wait_until_ready(stopped.is_set)
        if not stopped.is_set():
            _announce(console, system)
        while not stopped.wait(1.0):
            for line in system.revive():
                console.print(line, soft_wrap=True, highlight=False, markup=False)
    finally:
        with console.status("stopping: jobs in hand are finished or given back"):
            system.stop()
        console.print("Packshot has stopped; its data stays in", str(plan.data_dir))


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("-i", "--instruction", help="For the photos named here.")
@click.option(
    "--count",
    type=click.IntRange(0, 500),
    default=12,
    show_default=True,
    help="Sample photographs to edit.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for the results.",
)
@_engine
def demo(photos: tuple[Path, ...], **options: object) -> None:
    """Start everything, edit sample photographs (and PHOTOS), show the results, stop.

    Writes contact-sheet.png, index.html and jobs.json to the folder given by --out.
    """
    Demo(photos=photos, console=Console(), **options).run()  # type: ignore[arg-type]


def _cards() -> list[str]:
    """This machine's."""
    return [gpu.uuid for gpu in smi.gpus()] or [CPU_CARD]


def _until_signal() -> threading.Event:
    """Set by Ctrl-C or SIGTERM, instead of an exception in the middle of something."""
    heard = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: heard.set())
    return heard


def _packshot() -> str:
    """What starts this program in another terminal, where its environment may not be active."""
    ours = Path(sys.executable).with_name("packshot")
    is_found = shutil.which("packshot") == str(ours) or not ours.exists()
    return "packshot" if is_found else shlex.quote(str(ours))


def _announce(console: Console, system: System) -> None:
    servers, plan = system.servers, system.plan
    table = {
        "API": f"{system.urls['API']}/docs",
        "Flower": f"{system.urls['Flower']}  (user {FLOWER_USER}, password {system.password})",
        "Postgres": f"127.0.0.1:{servers.postgres.port}",
        "Redis": f"127.0.0.1:{servers.redis.port}",
        "S3": f"127.0.0.1:{servers.s3.port}",
        "Workers": ", ".join(plan.cards),
        "Data": str(plan.data_dir.absolute()),
    }
    lines = [
        *(f"  {name:9} {where}" for name, where in table.items()),
        "In another terminal:",
        f"  export PACKSHOT_ENV_FILE={system.env_file}",
        f'  {_packshot()} submit photo.jpg -i "make the background white" -o out.png',
        "Ctrl-C stops it.",
    ]
    console.print("[bold green]Packshot is up.[/]")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
