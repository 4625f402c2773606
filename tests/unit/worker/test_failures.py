"""What each exception means to the ledger."""

from __future__ import annotations

import pytest

from jobs import errors
from jobs.errors import AttemptFailed, FailureClass, JobsError
from worker.attempt.failures import MAX_MESSAGE, failure_of, is_ours

PERMANENT, TRANSIENT = FailureClass.PERMANENT, FailureClass.TRANSIENT
#: Every error there is, but those that say their class themselves.
MEANING = {
    errors.InvalidRequest: PERMANENT,
    errors.UnusablePicture: PERMANENT,
    errors.NoSuchArtifact: PERMANENT,
    errors.Unavailable: TRANSIENT,
    errors.SchemaMismatch: TRANSIENT,
    errors.Denied: TRANSIENT,
    # No attempt raises these; were one to, the budget would bound it.
    errors.JobsError: TRANSIENT,
    errors.IdempotencyConflict: TRANSIENT,
    errors.ModelNotServed: TRANSIENT,
    errors.JobNotFound: TRANSIENT,
    errors.NotReplayable: TRANSIENT,
    errors.NoResult: TRANSIENT,
    errors.Timeout: TRANSIENT,
    errors.BadSettings: TRANSIENT,
    errors.LeaseLost: TRANSIENT,
}


def tree(root: type[JobsError]) -> set[type[JobsError]]:
    return {root}.union(*(tree(one) for one in root.__subclasses__()))


def test_the_table_knows_the_whole_tree() -> None:
    assert tree(JobsError) - tree(AttemptFailed) == MEANING.keys()


@pytest.mark.parametrize(("error", "failure_class"), MEANING.items())
def test_an_error_has_the_class_of_its_kind(
    error: type[JobsError], failure_class: FailureClass
) -> None:
    failure = failure_of(error("why"))

    assert (failure.failure_class, failure.code, failure.message) == (
        failure_class,
        error.code,
        "why",
    )
    assert not is_ours(error("why"))


@pytest.mark.parametrize("error", sorted(tree(AttemptFailed) - {AttemptFailed}, key=str))
def test_an_attempt_s_error_says_its_class_itself(error: type[AttemptFailed]) -> None:
    assert failure_of(error("why")).failure_class is error.failure_class


def test_what_nobody_foresaw_is_ours_and_bounded_by_the_budget() -> None:
    failure = failure_of(ZeroDivisionError("division by zero"))

    assert failure.failure_class is TRANSIENT
    assert failure.code == "internal"
    assert failure.message == "ZeroDivisionError: division by zero"
    assert is_ours(ZeroDivisionError())


def test_a_lack_of_the_host_s_memory_is_a_lack_of_resources() -> None:
    assert failure_of(MemoryError()).failure_class is FailureClass.RESOURCE


def test_a_message_of_any_length_fits_the_ledger() -> None:
    assert len(failure_of(ValueError("x" * 100_000)).message) == MAX_MESSAGE
