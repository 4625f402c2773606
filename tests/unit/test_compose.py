"""docker-compose.test.yml is what the compose specification calls a compose file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

Compose = dict[str, Any]
ROOT = Path(__file__).parents[2]
#: From the compose specification's repository, schema/compose-spec.json (Apache-2.0).
SCHEMA = ROOT / "tests" / "data" / "compose-spec.json"


def validate(compose: Compose) -> None:
    """Its ``$schema`` lacks the draft's trailing ``#``, so the draft is named here."""
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(compose)


@pytest.fixture
def compose() -> Compose:
    content: Compose = yaml.safe_load((ROOT / "docker-compose.test.yml").read_text())
    return content


def test_it_fits_the_specifications_schema(compose: Compose) -> None:
    validate(compose)


def test_the_schema_refuses_a_typo(compose: Compose) -> None:
    compose["services"]["redis"]["helthcheck"] = {}

    with pytest.raises(jsonschema.ValidationError):
        validate(compose)


def test_every_service_is_pinned_checked_and_on_loopback(compose: Compose) -> None:
    services = compose["services"]

    assert set(services) == {"postgres", "redis", "minio"}
    for service in services.values():
        tag = service["image"].rpartition(":")[2]
        assert any(digit in tag for digit in "0123456789")
        assert "healthcheck" in service
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_makefile_uses_the_ports_of_the_compose_file(compose: Compose) -> None:
    makefile = (ROOT / "Makefile").read_text()

    for service in compose["services"].values():
        published = service["ports"][0].split(":")[1]
        assert f"127.0.0.1:{published}/" in makefile
