"""What a worker process is told."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobs.errors import BadSettings
from worker.bootstrap import load_engine
from worker.cli import cli
from worker.doctor.table import CHECKS
from worker.engine.fake import FakeEngine
from worker.exits import Exit
from worker.settings import WorkerSettings
from worker.supervisor.settings import SupervisorSettings

OPERATIONS = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")

SERVICES = {
    "PACKSHOT_DATABASE_URL": "postgresql://packshot:s3cret@host/packshot",
    "PACKSHOT_REDIS_URL": "redis://:s3cret@host/0",
    "PACKSHOT_S3_URL": "http://access:s3cret@host/packshot",
}


@pytest.fixture(autouse=True)
def services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(f"PACKSHOT_{name.upper()}", raising=False)
    monkeypatch.delenv("PACKSHOT_ENV_FILE", raising=False)
    for name, value in SERVICES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def fresh_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """No torch yet, and an environment that is put back."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "before")


def test_what_nobody_says_has_a_safe_default() -> None:
    settings = WorkerSettings.load()

    assert (settings.card, settings.engine) == ("cpu:0", "diffusers")
    assert (settings.lease_seconds, settings.drain_seconds) == (15.0, 120.0)


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "PACKSHOT_ENGINE": "magic",
        "PACKSHOT_LEASE_SECONDS": "0",
        "PACKSHOT_DRAIN_SECONDS": "-1",
        "PACKSHOT_TICK_SECONDS": "often",
        "PACKSHOT_FAKE_STEPS": "0",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PACKSHOT_S3_URL")

    with pytest.raises(BadSettings) as caught:
        WorkerSettings.load()

    for name in (*wrong, "PACKSHOT_S3_URL"):
        assert name in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_start_up_line_redacts_secrets_and_nothing_else() -> None:
    told = WorkerSettings.load().redacted()

    assert "s3cret" not in str(told)
    assert told["card"] == "cpu:0"
    assert told.keys() == WorkerSettings.model_fields.keys()


@pytest.mark.usefixtures("fresh_card")
def test_the_real_engine_needs_a_folder_of_weights() -> None:
    with pytest.raises(BadSettings, match="PACKSHOT_MODEL_DIR"):
        load_engine(WorkerSettings.load())


@pytest.mark.usefixtures("fresh_card")
def test_the_fake_engine_is_made_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_ENGINE", "fake")
    monkeypatch.setenv("PACKSHOT_CARD", "cpu:7")

    engine = load_engine(WorkerSettings.load())

    assert isinstance(engine, FakeEngine)
    assert engine.card == "cpu:7"


def test_the_command_tells_bad_settings_as_an_error_of_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PACKSHOT_REDIS_URL")
    done = CliRunner().invoke(cli, ["run", "--model-dir", str(tmp_path)])

    assert isinstance(done.exception, BadSettings)
    assert done.exception.exit_code == 3


def test_every_setting_of_an_operator_is_explained() -> None:
    fields = SupervisorSettings.model_fields

    assert [name for name in fields if f"`PACKSHOT_{name.upper()}`" not in OPERATIONS] == []


def test_every_exit_code_and_check_is_explained() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", OPERATIONS, re.MULTILINE)
    words = {word for row in rows for word in row.split(", ")}

    assert {str(int(code)) for code in Exit} - words == set()
    assert {check.name for check in CHECKS} - words == set()
