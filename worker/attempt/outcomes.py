"""How an attempt went: to the ledger, to a log, and to whoever counts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from jobs.errors import FailureClass
from jobs.model import Failure, Order, Result, Suspicion
from worker.held import Stop


class Verdict(StrEnum):
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"  #: this attempt; the ledger decides whether another follows
    HANDED_BACK = "handed_back"
    LOST = "lost"
    WORKER_FATAL = "worker_fatal"  #: failed, and this process must end


#: How an attempt went, before the ledger is told.
Outcome = Result | Failure | Stop


def facts_of(outcome: Outcome) -> Mapping[str, str]:
    """What a log may count by."""
    match outcome:
        case Result(suspect=Suspicion(code=code)):
            return {"suspect": code}
        case Failure():
            return {"failure_class": outcome.failure_class.value, "code": outcome.code}
        case _:
            return {}


def why_of(outcome: Outcome) -> str:
    match outcome:
        case Stop():
            return outcome.why
        case Failure():
            return outcome.message
        case Result():
            return ""


def after(stop: Stop) -> Outcome:
    """Past its limit is a failure; the other orders are none."""
    if stop.order is not Order.STOP:
        return stop
    return Failure(failure_class=FailureClass.TRANSIENT, code="run_limit", message=stop.why)


def verdict_of(outcome: Outcome) -> Verdict:
    match outcome:
        case Result():
            return Verdict.SUCCEEDED
        case Failure():
            fatal = outcome.failure_class is FailureClass.WORKER_FATAL
            return Verdict.WORKER_FATAL if fatal else Verdict.FAILED
        case Stop(order=Order.CANCEL):
            return Verdict.CANCELLED
        case Stop(order=None):
            return Verdict.HANDED_BACK
        case Stop():
            return Verdict.LOST
