"""A canary that fails is rolled back by what the ledger, the bucket and the judge say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envpack.node import commands
from envpack.pack.supply_cli import COMMANDS
from jobs.errors import FailureClass
from jobs.postgres.ledger import PostgresLedger
from producer.cli.release_report import by_release
from tests.unit.producer.shop import WORKER, Shop
from tests.unit.producer.test_release_report import NEW, OLD, Floor, noisy


@pytest.fixture
def shop(ledger: PostgresLedger) -> Shop:
    """The ledger is the real one."""
    ledger.register(WORKER)
    return Shop(ledger=ledger)  # type: ignore[arg-type]


@pytest.fixture
def floor(shop: Shop) -> Floor:
    floor = Floor(shop)
    for number in range(60):
        floor.done(OLD, seconds=2 + number / 1_000)
    floor.done(OLD, picture=noisy(0), golden="mug")
    return floor


def judged(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(by_release(shop.client(), baseline=OLD).as_json()))
    words = ["judge", str(path), "--canary", NEW, "--minimum", "50", "--tolerance", "0.1", "--json"]
    code = commands.main("packshot-env", "", COMMANDS, words)
    found = json.loads(capsys.readouterr().out)
    return code, {one["name"]: one["finding"] for one in found["checks"]}


def test_one_that_fails_is_rolled_back(
    shop: Shop, floor: Floor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(4):
        floor.failed(NEW, FailureClass.RESOURCE)
    for _ in range(6):
        floor.done(NEW)

    code, checks = judged(shop, tmp_path, capsys)

    assert code == 21
    assert checks["errors"] == checks["out of memory"] == "bad"


def test_one_that_paints_otherwise_is_rolled_back(
    shop: Shop, floor: Floor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floor.done(NEW, picture=noisy(40), golden="mug")

    code, checks = judged(shop, tmp_path, capsys)

    assert (code, checks["golden"]) == (21, "bad")


def test_one_that_does_as_well_is_promoted_once_there_is_enough(
    shop: Shop, floor: Floor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floor.done(NEW, picture=noisy(0), golden="mug")
    assert judged(shop, tmp_path, capsys)[0] == 20

    for number in range(60):
        floor.done(NEW, seconds=2 + number / 1_000)

    assert judged(shop, tmp_path, capsys)[0] == 0
