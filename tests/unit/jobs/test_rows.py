"""What a row holds of a request, for this release and for the one before."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.model import EditRequest, NewJob, OutputFormat, ServedModel
from jobs.postgres.rows import values_of

SERVED = ServedModel(name="edit", revision="r1", profile_group="default", profiles=("quality",))


def parameters(**choices: Any) -> dict[str, Any]:  # noqa: ANN401 - of the request
    request = EditRequest(pictures=("a" * 64,), instruction="make it red", **choices)
    found: dict[str, Any] = values_of(NewJob(request=request), SERVED, key="k", seed=1)[
        "parameters"
    ]
    return found


def test_a_request_that_uses_nothing_new_reads_on_workers_of_the_first_release() -> None:
    known = {"steps", "true_cfg_scale", "negative", "size", "format"}

    assert set(parameters()) == known


@pytest.mark.parametrize("choice", [{"alpha": True}, {"quality": 80}])
def test_what_is_new_and_used_is_stored(choice: dict[str, Any]) -> None:
    assert parameters(format=OutputFormat.WEBP, **choice).items() >= choice.items()
