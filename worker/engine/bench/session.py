"""The story: the card's limit, plain diffusers, then one case after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from PIL import Image, ImageStat

from jobs.errors import BadSettings, WorkerFatal
from worker.engine.base import Interrupted
from worker.engine.bench.budget import Budget
from worker.engine.bench.cases import Case, planned
from worker.engine.bench.measuring import Built, Setting, baseline, build, measured
from worker.engine.bench.rows import BASELINE, Outcome, Row, compare, row_of
from worker.engine.diffusers import host
from worker.engine.diffusers.offer import is_installed
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.placing import free_unused
from worker.engine.diffusers.precision import check_card
from worker.engine.diffusers.profiles import Precision

#: Deviation of 8-bit colours below which random weights have made no picture.
FLAT: Final = 1.0

Tell = Callable[[Row], None]


class Session:
    """Measures cases against one baseline.  Builds are shared by cases that follow each other."""

    def __init__(self, setting: Setting, budget: Budget) -> None:
        self._setting = setting
        self._budget = budget
        self._host_needs: dict[Placement, float] = {}
        self._built: Built | None = None
        self._built_as: tuple[object, ...] = ()
        self._baseline: tuple[Row, Image.Image] | None = None
        self._is_lost = False

    def run(self, cases: Sequence[Case], tell: Tell) -> None:
        """Each row is told as it is done, so that a run that is cut off leaves what it had."""
        tell(self._plain())
        for case in cases:
            refusal = self._refusal(case)
            row = row_of(case, Outcome.NOT_RUN, refusal) if refusal else self._row(case)
            tell(row)
            if row.outcome is Outcome.FAILED:
                self._drop()
        self._drop()

    def _plain(self) -> Row:
        (case,) = planned(
            self._setting.architecture,
            self._setting.device,
            steps=self._setting.steps,
            only=["quality"],
        )
        row = self._guarded(case, self._measure_plain)
        row.name = BASELINE
        self._drop()
        return row

    def _row(self, case: Case) -> Row:
        return self._guarded(case, self._measure)

    def _guarded(self, case: Case, measure: Callable[[Case], Row]) -> Row:
        """A case that fails is a row as well, and the next one is built anew."""
        try:
            return measure(case)
        except Interrupted:
            return row_of(case, Outcome.NOT_RUN, "time: it ran out during the edit")
        except WorkerFatal as error:
            self._is_lost = True
            return row_of(case, Outcome.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is this row's
            return row_of(case, Outcome.FAILED, _first_line(error))

    def _measure_plain(self, case: Case) -> Row:
        built = build(self._setting, None)
        row, picture = baseline(self._setting, built, case)
        if max(ImageStat.Stat(picture).stddev) < FLAT:
            raise ArithmeticError("the picture is flat: nothing could be compared with it")
        self._baseline = (row, picture)
        costs = self._budget.costs
        costs.build = 1.2 * built.seconds
        self._host_needs = {one: host.gib_of(built.pipeline, one) for one in Placement}
        costs.forward = row.seconds["steps"] / row.work["passes"]
        return row

    def _measure(self, case: Case) -> Row:
        if self._built is None or self._built_as != case.built_as:
            self._drop()
            self._built = build(self._setting, case)
            self._built_as = case.built_as
        row, picture = measured(self._setting, self._built, case)
        if self._baseline is not None:
            compare(row, picture, *self._baseline)
        return row

    def _refusal(self, case: Case) -> str | None:
        on_gpu = self._setting.device != "cpu"
        if self._is_lost:
            return "the card is lost: only a new process helps"
        if case.profile.load.precision is Precision.FP8 and (lacking := self._fp8_lacks()):
            return lacking
        if on_gpu and (lacking := self._host_lacks(case)):
            return lacking
        return self._budget.refusal(case, built=self._built_as == case.built_as)

    def _fp8_lacks(self) -> str | None:
        try:
            check_card(self._setting.device)
        except BadSettings as error:
            return str(error)
        return None if is_installed("torchao") else "torchao is not installed"

    def _host_lacks(self, case: Case) -> str | None:
        """A process that takes more than there is gets killed, and with it all rows to come."""
        if case.placement is Placement.RESIDENT or self._built_as == case.built_as:
            return None
        self._drop()  # what the row before had locked counts as taken, and will not be
        if not self._host_needs:
            return "host memory: what the weights need is not known, as plain diffusers did not run"
        needed = self._host_needs[case.placement] + host.MARGIN
        left = host.gib_available()
        if left >= needed:
            return None
        return f"host memory: needs {needed:.0f} GiB, {left:.0f} are available"

    def _drop(self) -> None:
        """Two sets of weights do not fit one card."""
        self._built, self._built_as = None, ()
        if self._setting.device == "cpu" or self._is_lost:
            return
        torch.compiler.reset()
        free_unused()


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]
