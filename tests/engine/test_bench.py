"""The bench: what it computes and tells; and one run of it, as on a bare GPU machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel

from worker.engine.bench import cli, measuring, session
from worker.engine.bench.budget import Budget, guessed
from worker.engine.bench.building import make_parts
from worker.engine.bench.cases import Case, lever, planned
from worker.engine.bench.measuring import Setting
from worker.engine.bench.rows import (
    Outcome,
    Row,
)
from worker.engine.bench.session import Session
from worker.engine.bench.sizes import FULL, TINY
from worker.engine.bench.work import forward_tflop
from worker.engine.diffusers import host
from worker.engine.diffusers.offer import cannot_compile
from worker.engine.diffusers.placement import Placement

pytestmark = pytest.mark.engine
#: Ours that a bare GPU machine lacks; the bench must not notice.
ABSENT = ("celery", "sqlalchemy", "pydantic", "pydantic_settings", "redis", "minio", "psycopg")
BARE = f"""
import os, runpy, sys
os.environ["CUDA_VISIBLE_DEVICES"] = ""
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv[0] = "bench"
runpy.run_module("worker.engine.bench", run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The JSON and the table of a run by itself, with tiny sizes."""
    out = tmp_path_factory.mktemp("bench") / "gpu.json"
    words = ["--tiny", "--steps", "2", "--try", "flat_vae=0,1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", BARE, *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), out.with_suffix(".md").read_text()


def rows_of(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in content["rows"]}


def test_every_profile_has_a_row_after_the_baseline(run: tuple[dict[str, Any], str]) -> None:
    content, _ = run
    names = [row["name"] for row in content["rows"]]

    assert names[0] == "plain diffusers"
    assert not any(content["rows"][0]["levers"][one] for one in ("compiled", "flat_vae"))
    assert {profile.name for profile in FULL.row.profiles} < set(names)
    assert {"uncompiled", "low-memory", "try flat_vae=False", "try flat_vae=True"} < set(names)


def test_levers_are_those_that_were_run(run: tuple[dict[str, Any], str]) -> None:
    """``quality`` asks to be compiled, which a CPU does not do."""
    rows = rows_of(run[0])

    run_as = [row["levers"] for row in rows.values() if row["seconds"]]
    assert {(one["compiled"], one["locked_gib"]) for one in run_as} == {(False, 0.0)}


def test_it_tells_seconds_by_part_and_what_it_ran_on(run: tuple[dict[str, Any], str]) -> None:
    content, _ = run
    row = rows_of(content)["quality"]

    parts = {"build", "warm_up", "total", "text_encode", "vae_encode", "step", "steps"}
    assert set(row["seconds"]) == parts | {"vae_decode"}
    assert all(value >= 0 for value in row["seconds"].values())
    assert row["work"]["passes"] == 4  # two steps with guidance
    assert row["times_baseline"] > 0
    assert content["machine"]["packages"]["diffusers"]
    assert content["architecture"] == "tiny"
    assert content["ceiling_tflops"] > 0


def test_what_claims_to_be_exact_is_the_baselines_picture(run: tuple[dict[str, Any], str]) -> None:
    content, _ = run
    rows = rows_of(content)

    assert rows["try flat_vae=False"]["distance"] == {"psnr_db": 99.0, "max": 0.0, "mean": 0.0}
    for name in ("quality", "uncompiled", "try flat_vae=True", "other-sums"):
        assert rows[name]["distance"]["max"] <= 1
    assert rows["fast"]["distance"]["mean"] > 0.1  # another schedule: the measure does see
    assert all(one["reached"] for one in content["targets"])


def test_what_cannot_be_run_here_says_why(run: tuple[dict[str, Any], str]) -> None:
    content, table = run
    rows = rows_of(content)

    assert rows["quality-fp8"]["outcome"] == "not run"
    assert "not run: torchao is not installed" in table or "not run: fp8 needs a GPU" in table
    assert "CPU smoke, tiny sizes: no figure of speed" in table


@pytest.mark.parametrize(
    ("tokens", "tflop"), [(4_200, 70), (8_500, 168), (12_800, 294), (17_000, 447)]
)
def test_a_pass_costs_what_the_model_must_compute(tokens: int, tflop: float) -> None:
    """Of 1 MP with none to three references: figures that agree with others' measurements."""
    assert forward_tflop(FULL.transformer, tokens) == pytest.approx(tflop, rel=0.02)


def test_the_full_sizes_are_the_models_own() -> None:
    """Its 20,430,401,088 parameters; the VAE's file has 0.25 GB at two bytes each."""
    with torch.device("meta"):
        transformer = QwenImageTransformer2DModel(**FULL.transformer)
        vae = AutoencoderKLQwenImage(**FULL.vae)

    assert sum(one.numel() for one in transformer.parameters()) == 20_430_401_088
    assert sum(one.numel() for one in vae.parameters()) * 2 == pytest.approx(0.25e9, rel=0.05)


def test_random_weights_are_the_same_each_time() -> None:
    one, other = (make_parts(TINY, "cpu")["vae"].state_dict() for _ in range(2))

    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_they_overflow_nowhere() -> None:
    """As deep as the real one, and in the type of a GPU: 60 layers of residuals."""
    deep = replace(TINY, transformer={**TINY.transformer, "num_layers": 60})
    transformer = make_parts(deep, "cpu")["transformer"].to(torch.bfloat16)
    with torch.no_grad():
        tokens = transformer(
            hidden_states=torch.randn(1, 12, 64, dtype=torch.bfloat16),
            encoder_hidden_states=torch.randn(1, 5, 64, dtype=torch.bfloat16),
            timestep=torch.tensor([0.5], dtype=torch.bfloat16),
            img_shapes=[[(1, 3, 4)]],
            return_dict=False,
        )[0]

    assert bool(tokens.isfinite().all())
    assert 0.3 < float(tokens.float().std()) < 3


def quality(steps: int = 40) -> Case:
    (case,) = planned(FULL, "cuda", steps=steps, only=["quality"])
    return case


@pytest.fixture
def setting() -> Setting:
    return Setting(
        architecture=TINY,
        device="cpu",
        pictures=1,
        steps=2,
        ceiling=1.0,
        overdue=lambda: False,
    )


def told(setting: Setting, *cases: Case, minutes: float = 9.0) -> list[Row]:
    rows: list[Row] = []
    Session(setting, Budget(minutes, costs=guessed("cpu"))).run(cases, rows.append)
    return rows


def tiny(name: str) -> Case:
    (case,) = planned(TINY, "cpu", steps=2, only=[name])
    return case


def test_without_time_the_rows_are_there_and_say_so(setting: Setting) -> None:
    plain, row = told(setting, tiny("balanced"), minutes=0.0)

    assert plain.outcome is Outcome.MEASURED  # nothing to compare with, else
    assert (row.name, row.outcome) == ("balanced", Outcome.NOT_RUN)
    assert row.why.startswith("time: needs about")


def test_a_baseline_without_a_picture_compares_nothing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where numbers overflow: two black pictures would be equal."""
    monkeypatch.setattr(session, "FLAT", 200.0)
    plain, row = told(setting, tiny("fast"))

    assert plain.outcome is Outcome.FAILED
    assert "the picture is flat" in plain.why
    assert (row.outcome, row.times_baseline, row.distance) == (Outcome.MEASURED, None, None)


def test_an_edit_that_outlasts_the_time_is_ended(setting: Setting) -> None:
    _, row = told(replace(setting, overdue=lambda: True), tiny("balanced"))

    assert (row.outcome, row.why) == (Outcome.NOT_RUN, "time: it ran out during the edit")


def test_a_case_that_fails_is_a_row_and_the_next_one_runs(setting: Setting) -> None:
    (broken,) = planned(
        TINY, "cpu", steps=2, levers=[lever("attention=none")], only=["try attention=none"]
    )
    _, failed, fast = told(setting, broken, tiny("fast"))

    assert failed.outcome is Outcome.FAILED
    assert "must be one of" in failed.why
    assert fast.outcome is Outcome.MEASURED


def test_a_compiler_that_fails_is_a_failure_and_no_row_that_was_left_out(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_how: object) -> None:
        raise cannot_compile("the blocks are none")

    monkeypatch.setattr(session, "measured", broken)
    _, row = told(setting, tiny("quality"))

    assert row.outcome is Outcome.FAILED
    assert "set PACKSHOT_COMPILED=false" in row.why


class Unlocking:
    """A host that has memory again once the last build is dropped."""

    def __init__(self, held: float, free: float) -> None:
        self.held, self.free = held, free

    def drop(self) -> None:
        self.free, self.held = self.free + self.held, 0.0


@pytest.mark.parametrize(
    ("held", "free", "told"),
    [
        (0.0, 94.0, "host memory: needs 96 GiB, 94 are available"),
        (0.0, 120.0, None),
        (88.0, 32.0, None),  # the row before it was an offload too
    ],
)
def test_an_offload_that_the_host_cannot_hold_is_not_begun(
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
    held: float,
    free: float,
    told: str | None,
) -> None:
    """It would be killed, and the rows after it with it."""
    memory = Unlocking(held, free)
    monkeypatch.setattr(host, "gib_available", lambda: memory.free)
    monkeypatch.setattr(session, "free_unused", memory.drop)
    on_gpu = replace(setting, architecture=FULL, device="cuda")
    (case,) = planned(FULL, "cuda", only=["low-memory"])
    begun = Session(on_gpu, Budget(9.0, costs=guessed("cuda")))
    begun._host_needs = {Placement.GROUP_OFFLOAD: 88.0}  # noqa: SLF001 - the baseline measures it

    refusal = begun._refusal(case)  # noqa: SLF001

    assert refusal == told


def test_how_much_was_locked_is_told(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """An offload from other memory is another figure."""
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _tensor: True)
    *_, row = told(setting, replace(tiny("quality"), placement=Placement.MODEL_OFFLOAD))

    assert row.levers["locked_gib"] > 0


def test_the_peak_of_warm_up_is_told_apart(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees the largest that may be asked for, the edit one picture."""
    peaks = iter(range(1, 100))
    monkeypatch.setattr(measuring, "peak_gib", lambda _device: {"reserved": float(next(peaks))})
    (case,) = planned(TINY, "cpu", steps=2, only=["quality"])
    plain, quality = told(setting, case)

    assert (plain.warm_peak_gib, plain.peak_gib) == ({"reserved": 1.0}, {"reserved": 2.0})
    assert (quality.warm_peak_gib, quality.peak_gib) == ({"reserved": 3.0}, {"reserved": 4.0})


def test_without_a_baseline_nothing_is_offloaded_blindly(setting: Setting) -> None:
    on_gpu = replace(setting, architecture=FULL, device="cuda")
    (case,) = planned(FULL, "cuda", only=["model-offload"])

    refusal = Session(on_gpu, Budget(9.0, costs=guessed("cuda")))._refusal(case)  # noqa: SLF001

    assert refusal is not None
    assert "plain diffusers did not run" in refusal


def test_a_card_that_does_not_compute_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_device: str) -> float:
        raise RuntimeError("CUDA error: no kernel image is available\nmore")

    monkeypatch.setattr(cli, "card_tflops", broken)

    assert cli.main(["--tiny"]) == 2
    assert "the card does not compute: CUDA error: no kernel image" in capsys.readouterr().err
