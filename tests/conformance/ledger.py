"""What every ledger promises, as one suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from jobs.ledger import Ledger
from jobs.model import JobId
from jobs.testing import AttemptRecord
from tests.conformance.ledger_attempts import AttemptConformance
from tests.conformance.ledger_budget import BudgetConformance
from tests.conformance.ledger_cancel import CancelConformance
from tests.conformance.ledger_keys import KeyConformance
from tests.conformance.ledger_losses import LossConformance
from tests.conformance.ledger_models import ModelConformance
from tests.conformance.ledger_order import OrderConformance
from tests.conformance.ledger_places import PlaceConformance
from tests.conformance.ledger_questions import QuestionConformance
from tests.conformance.ledger_records import RecordConformance
from tests.conformance.ledger_renewal import RenewalConformance
from tests.conformance.ledger_replay import ReplayConformance
from tests.conformance.scenes import WORKER

#: Reads what a ledger keeps of a job's attempts; the port has no question for it.
ReadAttempts = Callable[[JobId], Sequence[AttemptRecord]]


class LedgerConformance(
    KeyConformance,
    AttemptConformance,
    RenewalConformance,
    BudgetConformance,
    LossConformance,
    CancelConformance,
    OrderConformance,
    ModelConformance,
    PlaceConformance,
    QuestionConformance,
    RecordConformance,
    ReplayConformance,
):
    """Subclass it with the fixtures ``ledger`` (empty), ``let_pass`` (lets time pass for it)
    and ``read_attempts``.
    """

    @pytest.fixture(autouse=True)
    def offered(self, ledger: Ledger) -> None:
        """A worker offers the model that the scenes ask for."""
        ledger.register(WORKER)
