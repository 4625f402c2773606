"""What the bench makes of its figures: comparisons, targets and the table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from tests.engine.test_bench_plan import quality
from worker.engine.bench.report import HEAD, markdown, record, targets
from worker.engine.bench.rows import (
    Outcome,
    Row,
    compare,
    distance_between,
    row_of,
    seconds_by_part,
)
from worker.engine.bench.sizes import FULL, thinned

pytestmark = pytest.mark.engine


def test_a_few_layers_are_another_model_that_no_target_judges() -> None:
    thin = thinned(FULL, 4)
    row = full_row("fast", 0.2, 20.0)

    assert thin.transformer == dict(FULL.transformer) | {"num_layers": 4}
    assert targets([row], {"kind": "cuda", "architecture": thin.name}) == []
    assert targets([row], {"kind": "cuda", "architecture": FULL.name}) != []


def test_distances_are_of_8_bit_colours() -> None:
    black, gray = (Image.new("RGB", (4, 4), (level,) * 3) for level in (0, 16))
    found = distance_between(black, gray)

    assert (found["max"], found["mean"]) == (16, 16)
    assert found["psnr_db"] == pytest.approx(24.05, abs=0.01)


def test_a_step_is_the_sum_of_its_passes() -> None:
    spans = {
        "transformer": [1.0, 2.0, 1.0, 2.0, 5.0, 5.0],
        "text_encoder": [0.5, 0.5],
        "vae_encode": [0.1],
        "vae_decode": [0.2],
    }
    seconds = seconds_by_part(spans, 3)

    assert (seconds["step"], seconds["steps"], seconds["text_encode"]) == (3.0, 16.0, 1.0)


def test_a_few_steps_from_host_memory_are_compared_by_the_step() -> None:
    picture = Image.new("RGB", (2, 2))
    plain, whole, sample = (full_row(name, 40.0, 1.0) for name in ("plain", "fast", "offloaded"))
    plain.seconds["step"], whole.steps = 1.0, 4
    whole.seconds |= {"total": 2.0, "step": 0.4}
    sample.seconds |= {"total": 20.0, "step": 4.0}
    sample.steps, sample.placement = 4, "group-offload"
    for row in (whole, sample):
        compare(row, picture, plain, picture)

    assert whole.times_baseline == 20.0
    assert sample.times_baseline == 0.25
    assert whole.distance is not None
    assert sample.distance is None  # four steps of forty are no picture


def full_row(name: str, total: float, ratio: float, *, exact: bool = False) -> Row:
    row = row_of(replace(quality(), name=name, exact=exact), Outcome.MEASURED)
    row.seconds = dict.fromkeys(("total", "text_encode", "vae_encode", "step", "vae_decode"), total)
    row.work, row.peak_gib = {"of_limit": 0.5}, {"reserved": 6.0}
    row.times_baseline, row.distance = ratio, {"psnr_db": 50.0, "max": 3.0, "mean": 0.5}
    return row


def test_targets_are_judged_by_the_best_row_that_may_reach_them() -> None:
    rows = [
        full_row("quality", 40.0, 1.0, exact=True),
        full_row("uncompiled", 24.0, 1.7, exact=True),
        full_row("cached", 20.0, 2.0),  # changes the picture: does not count
        full_row("fast", 1.9, 20.0),
        full_row("low-memory", 100.0, 0.1),
    ]
    found = {
        one["what"]: (round(one["value"], 2), one["reached"])
        for one in targets(rows, {"kind": "cuda", "architecture": "full"})
    }

    assert found["quality: >= 1.6 times plain"] == (1.7, True)
    assert found["fast: <= 1.8 s"] == (1.9, False)
    assert found["low-memory: <= 6.5 GB"] == (6.44, True)
    assert found["uncompiled: mean distance <= 2 of 255"] == (0.5, True)


def test_the_table_has_a_cell_for_each_figure() -> None:
    about = {
        "kind": "cuda",
        "architecture": "full",
        "command": "bench",
        "ceiling_tflops": 700.0,
        "dtype": "bfloat16",
        "pictures": 1,
        "side": 1024,
        "took_s": 500.0,
    }
    machine = {"device": "card", "driver": "1", "packages": {}, "python": "3", "date": "today"}
    offloaded = full_row("low-memory", 7.0, 0.5)
    offloaded.levers = {**offloaded.levers, "locked_gib": 52.47}
    rows = [
        full_row("fast", 1.9, 20.0),
        offloaded,
        row_of(quality(), Outcome.NOT_RUN, "time: needs about 60 s, 5 s are left"),
    ]
    table = [
        line for line in markdown(record(machine, about, rows)).splitlines() if line[:1] == "|"
    ]

    assert {line.count("|") for line in table} == {len(HEAD) + 1}
    assert "resident, compiled, flat_vae |" in table[2]
    assert "resident, 52.5 GiB locked, compiled, flat_vae |" in table[3]
    assert "not run: time: needs about 60 s, 5 s are left" in table[4]
    assert "NOT reached" in markdown(record(machine, about, rows))
