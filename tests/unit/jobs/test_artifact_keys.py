"""Where pictures lie."""

from __future__ import annotations

from jobs.model import input_key, output_key
from jobs.testing import MemoryLedger
from tests.conformance.scenes import DIGEST, WORKER, superseded_lease


def test_each_attempt_writes_an_object_of_its_own() -> None:
    """A zombie's late upload then harms nobody's picture."""
    ledger = MemoryLedger()
    ledger.register(WORKER)
    stale, current = superseded_lease(ledger)

    assert stale.job.id == current.job.id
    assert output_key(stale) != output_key(current)
    assert output_key(current).startswith("default/outputs/")


def test_an_input_lies_under_its_tenant_and_digest() -> None:
    assert input_key("shop", DIGEST) == f"shop/inputs/{DIGEST}"
