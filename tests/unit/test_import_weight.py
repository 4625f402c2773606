"""Importing a package loads nothing heavy: commands answer at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "diffusers", "transformers", "celery", "sqlalchemy", "minio", "fastapi"),
    *("conda_pack", "cryptography", "rattler", "zstandard"),
)


def loaded_by(module: str) -> list[str]:
    """The heavy packages that a fresh process has after importing a module."""
    code = f"import sys, {module}; print(*(one for one in {HEAVY} if one in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=True, text=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("package", ["jobs", "producer", "worker", "envpack", "standalone"])
def test_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_by(package) == []


@pytest.mark.parametrize(
    "module", ["producer.cli.commands", "envpack.cli", "jobs.settings", "jobs.testing"]
)
def test_what_a_command_needs_to_show_its_help_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module) == []


def test_a_list_of_modules_would_show_something_heavy() -> None:
    assert loaded_by("jobs.s3") == ["minio"]
