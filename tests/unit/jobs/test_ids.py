"""The order of ids."""

from __future__ import annotations

from jobs.ids import new_job_id


def test_ids_made_later_sort_later() -> None:
    ids = [new_job_id() for _ in range(5_000)]

    assert ids == sorted(set(ids))
    assert {one.version for one in ids} == {7}
