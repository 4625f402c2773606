"""The real environment, built once: conda's Python, the locked wheels, the weights of a checkout.

Gigabytes and minutes: ``make test-env``.  Each step says how long it took.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from jobs.connect import Services, connect
from jobs.settings import Settings
from standalone.settings import TINY_MODEL, TINY_MODEL_DIR
from tests.environment.host import Host, Step
from tests.locked import worker_lines
from tests.machines import Document, Machines, machines

NEEDED_GB: Final = 30
#: Set by a shell for other Pythons than the one that is started.
MISLEADING: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


@pytest.fixture(scope="session")
def step(request: pytest.FixtureRequest) -> Step:
    capture = request.config.pluginmanager.getplugin("capturemanager")

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = monotonic()
        yield
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{monotonic() - began:7.1f} s  {name}")
            sys.stdout.flush()

    return timed


@pytest.fixture(scope="session")
def site() -> Iterator[Machines]:
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free // 10**9
    if free < NEEDED_GB:
        pytest.exit(
            f"{place}: {free} GB free; the environment, packed and unpacked, needs {NEEDED_GB} GB."
            " Free some, or name another disk in TMPDIR",
            returncode=1,
        )
    with machines(another_user=True) as made:
        yield made


@pytest.fixture(scope="session")
def first(site: Machines, step: Step) -> Iterator[Document]:
    """The first release, in the depot.  What it was built in is renamed away from then on."""
    with step("build: conda's Python, then the locked wheels by its own pip"):
        site.conda_prefix(site.prefix)
        _install(site)
    layers = {}
    with step("pack the environment"):
        packed = site.build("pack", site.prefix, *_into(site), "--level", "1")
        layers["env"] = packed["digest"]
    sizes = f"{packed['bytes'] / 1e9:.2f} GB, packed {packed['archive']['size'] / 1e9:.2f} GB"
    with step(f"pack application and model, sign, release (environment: {sizes})"):
        python = site.prefix / "bin" / "python"
        layers["app"] = site.build("app", "--python", python, *_into(site))["digest"]
        layers["model"] = site.build("model", "add", TINY_MODEL_DIR, *_into(site))["digest"]
        release = site.release(layers)
    away = site.prefix.with_name("away")
    site.prefix.rename(away)
    yield release
    away.rename(site.prefix)


def _into(site: Machines) -> tuple[str | Path, ...]:
    return ("--depot", site.depot, "--key", site.key)


def _install(site: Machines) -> None:
    wanted = site.folder / "build" / "requirements.txt"
    wanted.write_text("\n".join(worker_lines()) + "\n", "utf-8")
    options = ("--quiet", "--require-hashes", "--no-deps", "--no-compile", "-r", str(wanted))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(site.prefix / "bin" / "python")),
            *("--disable-pip-version-check", "install", *options),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in MISLEADING},  # noqa: TID251 - pip's own settings say where wheels come from
    )
    assert ended.returncode == 0, ended.stderr[-4000:]


@pytest.fixture(scope="session")
def active(site: Machines, first: Document, step: Step) -> Document:
    """The first release on the host, checked and current."""
    with step("unpack on the host, from one file, as another user"):
        site.unpack(first["digest"])
    with step("activate"):
        site.host("activate", first["digest"])
    return first


@pytest.fixture(scope="session")
def host(site: Machines, environment: dict[str, str], services: Services, step: Step) -> Host:
    settings = {**environment, "PACKSHOT_MODEL": TINY_MODEL}
    return Host(machines=site, settings=settings, services=services, step=step)


@pytest.fixture(scope="session")
def environment(database_url: str, redis_url: str, s3_url: str) -> dict[str, str]:
    return {
        "PACKSHOT_DATABASE_URL": database_url,
        "PACKSHOT_REDIS_URL": redis_url,
        "PACKSHOT_S3_URL": s3_url,
    }


@pytest.fixture(scope="session")
def services(environment: dict[str, str]) -> Iterator[Services]:
    """The same ledger, as this test sees it."""
    settings = Settings.model_validate(
        {name.removeprefix("PACKSHOT_").lower(): value for name, value in environment.items()}
    )
    services = connect(settings)
    services.init()
    yield services
    services.close()
