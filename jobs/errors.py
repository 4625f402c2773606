"""Everything that goes wrong on purpose.

    JobsError
    ├── InvalidRequest          the caller's fault: says what, which one, which limit
    │   └── UnusablePicture     names the file
    ├── IdempotencyConflict     same key, other request
    ├── ModelNotServed          no worker has ever offered this model or profile
    ├── JobNotFound
    ├── NotReplayable           it neither failed nor was cancelled, or its pictures are gone
    ├── NoSuchArtifact          the bucket holds no such picture
    ├── NoResult                the job has no picture to give (yet, or any more)
    ├── Timeout                 the wait ended before the job did; the job goes on
    ├── Unavailable             ledger, broker or store does not answer
    │   ├── SchemaMismatch      the ledger is older or newer than this program
    │   └── Denied              the store answers, and refuses our keys
    ├── BadSettings             all problems of the environment at once
    ├── LeaseLost               another attempt owns the job: stop, write nothing
    └── AttemptFailed           this attempt is over; the subclass is the failure class
        ├── Permanent           another attempt would fail the same way
        ├── Transient           worth another attempt, later
        ├── OutOfResources      out of memory, after the engine's own second try
        └── WorkerFatal         only a new process helps

Exit codes and HTTP statuses stand on the classes, so that CLI and API cannot disagree.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class FailureClass(StrEnum):
    """Why an attempt ended badly.  Values are wire format."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    RESOURCE = "resource"
    WORKER_FATAL = "worker-fatal"
    LOST = "lost"  #: the lease ran out: nobody knows what became of the attempt


class JobsError(Exception):
    """Base of the tree.  ``code`` is stable and for machines; the message is for people."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"


class InvalidRequest(JobsError):
    exit_code = 2
    http_status = 422
    code = "invalid_request"


class UnusablePicture(InvalidRequest):
    code = "unusable_picture"


class IdempotencyConflict(JobsError):
    exit_code = 5
    http_status = 422
    code = "idempotency_conflict"


class ModelNotServed(JobsError):
    exit_code = 7
    http_status = 422
    code = "model_not_served"


class JobNotFound(JobsError):
    exit_code = 4
    http_status = 404
    code = "job_not_found"


class NotReplayable(JobsError):
    exit_code = 2
    http_status = 409
    code = "not_replayable"


class NoSuchArtifact(JobsError):
    exit_code = 4
    http_status = 404
    code = "no_such_artifact"


class NoResult(JobsError):
    exit_code = 8
    http_status = 409
    code = "no_result"


class Timeout(JobsError):
    exit_code = 9
    http_status = 504
    code = "timeout"


class Unavailable(JobsError):
    exit_code = 6
    http_status = 503
    code = "unavailable"


class SchemaMismatch(Unavailable):
    code = "schema_mismatch"


class Denied(Unavailable):
    code = "denied"


class BadSettings(JobsError):
    exit_code = 3
    code = "bad_settings"


class LeaseLost(JobsError):
    """Another attempt, a cancellation or the reconciler has moved the job on."""

    code = "lease_lost"


class AttemptFailed(JobsError):
    """Raise a subclass.  ``failure_class`` decides what the ledger does next."""

    failure_class: ClassVar[FailureClass]


class Permanent(AttemptFailed):
    failure_class = FailureClass.PERMANENT
    code = "permanent"


class Transient(AttemptFailed):
    failure_class = FailureClass.TRANSIENT
    code = "transient"


class OutOfResources(AttemptFailed):
    failure_class = FailureClass.RESOURCE
    code = "out_of_resources"


class WorkerFatal(AttemptFailed):
    failure_class = FailureClass.WORKER_FATAL
    code = "worker_fatal"
