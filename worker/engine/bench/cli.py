"""``python3 -m worker.engine.bench``: measure, and write ``build/bench/gpu.json`` and ``.md``.

Without a GPU it runs tiny sizes on the CPU by itself: that shows that it works, and no speed.
``--tiny`` does so on a GPU, which shows in two minutes whether the long run would fail.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from jobs.errors import BadSettings
from worker.engine.bench.budget import Budget, guessed
from worker.engine.bench.building import dtype_of
from worker.engine.bench.cases import lever, planned
from worker.engine.bench.machine import device_here, facts
from worker.engine.bench.measuring import Setting
from worker.engine.bench.report import SMOKE, markdown, record, write
from worker.engine.bench.rows import Outcome, Row
from worker.engine.bench.session import Session
from worker.engine.bench.sizes import FULL, TINY, thinned
from worker.engine.bench.work import card_tflops

OUT: Final = Path("build/bench/gpu.json")
#: Of the minutes: imports before, the report after.
RESERVE: Final = 20 / 60


def main(arguments: Sequence[str]) -> int:
    """0 when the baseline was measured and no row failed; 2 for a wrong argument."""
    try:
        return _bench(_parser().parse_args(arguments), shlex.join(arguments))
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m worker.engine.bench", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, on a GPU as well")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON; a table goes beside it")
    parser.add_argument("--minutes", type=float, default=9.0, help="what no longer fits is told")
    parser.add_argument("--profiles", default="", help="rows, with commas; tries: --try's")
    parser.add_argument("--steps", type=int, help="at most, in place of a profile's own")
    parser.add_argument("--pictures", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--layers", type=int, help="of the transformer's 60: ratios in less time")
    parser.add_argument(
        "--try",
        dest="levers",
        action="append",
        default=[],
        type=str,
        metavar="LEVER=VALUES",
        help="more rows of quality, one for each combination: attention=native,_native_cudnn"
        " compiled=0,1 autotuned=0,1 flat_vae=0,1 step_cache=0,0.1",
    )
    return parser


def _ceiling(device: str) -> float:
    try:
        return card_tflops(device)
    except RuntimeError as error:
        raise BadSettings(f"the card does not compute: {str(error).splitlines()[0]}") from error


def _bench(asked: Any, words: str) -> int:  # noqa: ANN401 - argparse's namespace
    began = time.monotonic()
    device = device_here()
    if device == "cpu":
        torch.set_num_threads(1)  # threads of a model this small wait for each other
        print(f"No GPU was found. {SMOKE}", file=sys.stderr)
    architecture = TINY if asked.tiny or device == "cpu" else FULL
    if asked.layers:
        architecture = thinned(architecture, asked.layers)
    only = tuple(name for name in asked.profiles.split(",") if name)
    levers = [lever(one) for one in asked.levers]
    cases = planned(architecture, device, steps=asked.steps, levers=levers, only=only)
    budget = Budget(asked.minutes - RESERVE, costs=guessed(device))
    setting = Setting(
        architecture=architecture,
        device=device,
        pictures=asked.pictures,
        steps=asked.steps,
        ceiling=_ceiling(device),
        overdue=lambda: budget.left <= 0,
    )
    machine = facts(device)
    rows: list[Row] = []

    def content() -> dict[str, Any]:
        about = {
            "kind": device,
            "architecture": architecture.name,
            "command": f"python3 -m worker.engine.bench {words}".strip(),
            "ceiling_tflops": setting.ceiling,
            "dtype": str(dtype_of(device)).removeprefix("torch."),
            "pictures": asked.pictures,
            "side": architecture.side,
            "took_s": time.monotonic() - began,
        }
        return record(machine, about, rows)

    def tell(row: Row) -> None:
        rows.append(row)
        what = f"{row.seconds['total']:.3g} s" if row.seconds else f"{row.outcome}: {row.why}"
        print(f"{time.monotonic() - began:6.1f} s  {row.name}: {what}", file=sys.stderr)
        write(asked.out, content())

    Session(setting, budget).run(cases, tell)
    print(markdown(content()))
    failed = rows[0].outcome is not Outcome.MEASURED
    return int(failed or any(row.outcome is Outcome.FAILED for row in rows))
