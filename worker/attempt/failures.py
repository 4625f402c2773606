"""What an exception of an attempt means to the ledger: one table."""

from __future__ import annotations

from typing import Final

from jobs.errors import (
    AttemptFailed,
    FailureClass,
    InvalidRequest,
    JobsError,
    NoSuchArtifact,
    Unavailable,
)
from jobs.model import Failure

CLASSES: Final[dict[type[Exception], FailureClass]] = {
    InvalidRequest: FailureClass.PERMANENT,  # a picture that the producer should have refused
    NoSuchArtifact: FailureClass.PERMANENT,  # an input that was deleted
    Unavailable: FailureClass.TRANSIENT,
    MemoryError: FailureClass.RESOURCE,  # the host's; the engine tells of the card's
}
MAX_MESSAGE: Final = 2_000  # characters


def failure_of(error: Exception) -> Failure:
    """Anything that is not in the tree is a fault of ours: transient, so bounded by the budget."""
    code = error.code if isinstance(error, JobsError) else JobsError.code
    message = str(error) if isinstance(error, JobsError) else f"{type(error).__name__}: {error}"
    return Failure(failure_class=_class_of(error), code=code, message=message[:MAX_MESSAGE])


def is_ours(error: Exception) -> bool:
    """True when nobody foresaw it: worth a traceback in the log."""
    return not isinstance(error, JobsError)


def _class_of(error: Exception) -> FailureClass:
    if isinstance(error, AttemptFailed):
        return error.failure_class
    for known, failure_class in CLASSES.items():
        if isinstance(error, known):
            return failure_class
    return FailureClass.TRANSIENT
