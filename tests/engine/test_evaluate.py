"""What is told of a checkpoint, of each of its profiles."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.variants import TINY, load
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.tiny import evaluate
from worker.engine.tiny.cases import Judged, all_kinds
from worker.engine.tiny.evaluate import by_profile, evaluated, profile_table, table
from worker.engine.tiny.judge import Verdict
from worker.engine.tiny.language import Language

pytestmark = pytest.mark.engine

CASES = list(all_kinds(1, 0, unseen=False))
RIGHT = Verdict(edit_right=True, rest_stays=True, psnr_db=30.0)
WRONG = replace(RIGHT, rest_stays=False, psnr_db=20.0)


def judged(*verdicts: Verdict) -> list[Judged]:
    return [Judged(case=case, verdict=one) for case, one in zip(CASES, verdicts, strict=True)]


def test_a_profile_is_compared_with_the_first_case_by_case() -> None:
    told = by_profile(
        {
            "quality": judged(RIGHT, RIGHT, WRONG, WRONG),
            "fast": judged(RIGHT, WRONG, RIGHT, WRONG),
        }
    )

    assert {name: one["right_share"] for name, one in told.items()} == {"quality": 0.5, "fast": 0.5}
    assert {name: (one["lost"], one["won"]) for name, one in told.items()} == {
        "quality": (0, 0),
        "fast": (1, 1),
    }
    assert [(one["steps"], one["guidance"]) for one in told.values()] == [(8, 1.0), (4, 1.0)]
    assert told["fast"]["psnr_db"] == 25.0


@pytest.fixture(scope="module")
def untrained(random_folder: Path) -> DiffusersEngine:
    return load(random_folder, TINY)


def test_every_profile_that_is_served_is_judged_by_the_same_cases(
    untrained: DiffusersEngine,
) -> None:
    told = evaluated(untrained, cases=1, seed=0, profile="quality", languages=list(Language))

    assert list(told["profiles"]) == ["quality", "balanced", "fast"]
    whole = told["profiles"]["quality"]
    assert {key: told[key] for key in ("right_share", "right_share_by_type", "psnr_db")} == {
        key: whole[key] for key in ("right_share", "right_share_by_type", "psnr_db")
    }
    assert len({one["psnr_db"] for one in told["profiles"].values()}) > 1  # other pictures
    lines = profile_table(told["profiles"]).splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(told["profiles"])


def test_the_command_writes_what_it_tells(
    random_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "new" / "tiny.json"
    words = [str(random_folder), "--cases", "1", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["evaluate", *words])

    assert evaluate.main() == 0

    told = json.loads(file.read_text())
    assert {"right_share", "right_share_by_type", "psnr_db", "wrong_instruction_share"} <= set(told)
    assert set(told["profiles"]) == {"quality", "balanced", "fast"}
    assert capsys.readouterr().out == f"{table(told)}\n{profile_table(told['profiles'])}"
