"""The bench before it measures: what it brings along, what it plans, and what still fits."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from jobs.errors import BadSettings
from worker.engine.bench import cli
from worker.engine.bench.budget import Budget, Costs, guessed
from worker.engine.bench.carried import add_carried
from worker.engine.bench.cases import Case, lever, planned
from worker.engine.bench.sizes import FULL

pytestmark = pytest.mark.engine


def quality(steps: int = 40) -> Case:
    (case,) = planned(FULL, "cuda", steps=steps, only=["quality"])
    return case


def test_what_no_longer_fits_is_refused_with_its_reason() -> None:
    now = [0.0]
    costs = Costs(build=20.0, forward=0.5)
    budget = Budget(2.0, costs=costs, clock=lambda: now[0])

    assert budget.refusal(quality(), built=False) is None  # 40 steps, two passes each
    now[0] = 60.0
    assert budget.refusal(quality(), built=False) == "time: needs about 79 s, 60 s are left"
    assert budget.refusal(quality(), built=True) is None
    now[0] = 200.0
    assert budget.refusal(quality(2), built=True) == "time: needs about 7 s, 0 s are left"


def test_the_standing_cases_fit_nine_minutes_of_the_card_they_are_meant_for() -> None:
    """By the guesses, with plain diffusers first; the last three may be left out."""
    costs = guessed("cuda")
    spent, before = costs.of(quality(), built=False), None
    for case in planned(FULL, "cuda")[:6]:
        spent += costs.of(case, built=case.built_as == before)
        before = case.built_as

    assert spent < 9 * 60


def test_rows_come_by_what_they_are_worth() -> None:
    """The time may be over, or the host's memory, before the last one."""
    names = [case.name for case in planned(FULL, "cuda")]

    assert set(names[:3]) == {"quality", "balanced", "fast"}
    assert names[3] == "low-memory"
    assert names[-1] == "cached"


def test_a_few_layers_are_asked_for_by_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thin.json"
    words = ["--layers", "1", "--steps", "2", "--profiles", "quality", "--out", str(out)]

    assert cli.main(["--tiny", *words]) == 0
    assert json.loads(out.read_text())["architecture"] == "tiny, 1 layers"
    assert "quality" in capsys.readouterr().out


def test_levers_are_tried_in_every_combination() -> None:
    words = ["attention=native,_native_cudnn", "compiled=0,1"]
    cases = planned(FULL, "cuda", levers=[lever(word) for word in words])
    tries = planned(FULL, "cuda", levers=[lever(word) for word in words], only=["tries"])

    assert [case.name for case in tries] == [
        "try attention=native compiled=False",
        "try attention=native compiled=True",
        "try attention=_native_cudnn compiled=False",
        "try attention=_native_cudnn compiled=True",
    ]
    assert all(one in cases for one in tries)
    assert tries[3].profile.load.attention == "_native_cudnn"
    assert tries[3].profile.load.compiled
    assert all(case.exact for case in tries)


@pytest.mark.parametrize("word", ["speed=1", "compiled", "step_cache=much"])
def test_a_lever_that_there_is_not_is_refused(word: str) -> None:
    with pytest.raises(BadSettings, match="--try"):
        lever(word)


def test_a_row_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadSettings, match="not nicest"):
        planned(FULL, "cuda", only=["quality", "nicest"])


def test_profiles_of_one_build_share_it() -> None:
    cases = {case.name: case for case in planned(FULL, "cuda")}

    assert cases["quality"].built_as == cases["fast"].built_as
    assert cases["quality"].built_as != cases["uncompiled"].built_as
    assert cases["low-memory"].built_as != cases["model-offload"].built_as


def test_a_wheel_beside_the_repository_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "carried_one-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried_one.py", "ANSWER = 42\n")
    for _ in range(2):  # the second run finds it unpacked
        assert add_carried(tmp_path / "wheels", tmp_path / "site") == (
            "carried_one-1.0-py3-none-any",
        )

    found = __import__("carried_one")
    assert found.ANSWER == 42
    assert str(tmp_path) in sys.path[-1]  # what the machine has comes first


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ("py3-none-any", True),
        ("cp310-abi3-manylinux_2_24_x86_64.manylinux_2_28_x86_64", True),  # torchao's
        ("cp27-cp27mu-manylinux1_x86_64", False),
        ("cp310-abi3-win_amd64", False),
    ],
)
def test_a_wheel_is_taken_if_it_fits_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: str, *, fits: bool
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with zipfile.ZipFile(tmp_path / f"carried_two-1.0-{tags}.whl", "w") as wheel:
        wheel.writestr("carried_two.py", "")

    assert bool(add_carried(tmp_path, tmp_path / "site")) == fits
