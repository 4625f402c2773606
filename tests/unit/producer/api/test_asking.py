from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from jobs.ids import new_job_id
from jobs.model import JobId, Suspicion
from jobs.testing import MemoryArtifacts, MemoryLedger
from producer.api.views import answer
from producer.client import LINK_FOR, Client
from producer.views import job_json
from tests.conformance.scenes import completed
from tests.services import eventually
from tests.unit.producer.api.scenes import WORKER, Downstream, Hand


def test_a_job_has_the_words_of_the_command_line(api: Downstream, memory: MemoryLedger) -> None:
    job_id = api.submit()
    body = api.get(f"/v1/edits/{job_id}").json()
    words = job_json(memory.get(JobId(UUID(job_id))))

    assert {name: body[name] for name in words} == words
    assert set(body) - set(words) == {*("queue_position", "starts_in", "waits_for_worker", "links")}


def test_a_listed_job_has_the_words_of_the_command_line(
    api: Downstream, hand: Hand, memory: MemoryLedger
) -> None:
    job_id = api.submit()
    hand.complete(job_id)
    (listed,) = api.get("/v1/edits").json()["edits"]
    words = job_json(memory.get(JobId(UUID(job_id))))

    assert {name: listed[name] for name in words} == words
    assert set(listed) - set(words) == {"links"}


def test_a_queued_job_tells_its_place(api: Downstream) -> None:
    api.submit()
    second = api.submit(instruction="make it blue")

    assert api.get(f"/v1/edits/{second}").json()["queue_position"] == 1


def test_a_queued_job_tells_when_it_will_start(api: Downstream, memory: MemoryLedger) -> None:
    for seconds in (10.0, 14.0):
        lease = memory.claim(JobId(UUID(api.submit(instruction=f"{seconds}"))), WORKER)
        assert lease is not None
        completed(memory, lease, card=seconds)
    first = api.submit(instruction="first")
    on_a_free_card = api.get(f"/v1/edits/{first}").json()["starts_in"]
    memory.claim(JobId(UUID(first)), WORKER)
    second = api.submit(instruction="second")

    assert on_a_free_card == 0
    assert api.get(f"/v1/edits/{second}").json()["starts_in"] == 12


def test_a_queued_job_tells_whether_somebody_may_take_it(
    api: Downstream, memory: MemoryLedger
) -> None:
    path = f"/v1/edits/{api.submit()}"
    served = api.get(path)
    memory.retire(WORKER.id)
    alone = api.get(path, if_none_match=served.headers["etag"])

    assert served.json()["waits_for_worker"] is False
    assert alone.json()["waits_for_worker"] is True


def test_a_running_job_tells_its_progress(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.step(hand.claim(job_id), 2, 8)
    response = api.get(f"/v1/edits/{job_id}")
    body = response.json()

    assert (body["state"], body["progress"], body["queue_position"]) == ("running", 0.25, None)
    assert response.headers["retry-after"] == "1"


def test_a_finished_job_links_to_its_picture_for_a_while(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.complete(job_id)
    response = api.get(f"/v1/edits/{job_id}")
    result = response.json()["result"]
    left = datetime.fromisoformat(result["url_expires_at"]) - datetime.now(UTC)

    assert "retry-after" not in response.headers
    assert result["key"] in result["url"]
    assert LINK_FOR - timedelta(minutes=1) < left <= LINK_FOR
    assert parse_qs(urlsplit(result["url"]).query)["download_as"] == [f"{job_id}.png"]


def test_a_failed_job_tells_why(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.fail(job_id)
    body = api.get(f"/v1/edits/{job_id}").json()

    assert body["state"] == "failed"
    assert body["error"] == {"class": "permanent", "code": "oops", "message": "no luck"}
    assert body["result"] is None


def test_an_unchanged_job_is_not_sent_again(api: Downstream, hand: Hand) -> None:
    path = f"/v1/edits/{api.submit()}"
    tag = api.get(path).headers["etag"]
    same = api.get(path, if_none_match=f'"other", {tag.removeprefix("W/")}')
    hand.complete(path.rpartition("/")[2])
    changed = api.get(path, if_none_match=tag)

    assert (same.status_code, same.content) == (304, b"")
    assert (same.headers["etag"], same.headers["retry-after"]) == (tag, "2")
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_job_nearer_to_its_turn_has_changed(api: Downstream, hand: Hand) -> None:
    first = api.submit()
    path = f"/v1/edits/{api.submit(instruction='make it blue')}"
    tag = api.get(path).headers["etag"]
    hand.complete(first)

    assert api.get(path, if_none_match=tag).json()["queue_position"] == 0


def test_a_kept_link_outlives_every_304(api: Downstream, hand: Hand, client: Client) -> None:
    job_id = api.submit()
    job = hand.complete(job_id)
    start = datetime.now(UTC)
    tag = answer(client, job, now=start).headers["etag"]

    def kept(after: timedelta) -> bool:
        return answer(client, job, now=start + after, unless=tag).status_code == 304

    assert kept(timedelta(0))
    assert not kept(LINK_FOR / 2)


def test_an_unknown_job_is_not_found(api: Downstream) -> None:
    job_id = new_job_id()
    for response in (
        api.get(f"/v1/edits/{job_id}"),
        api.get(f"/v1/edits/{job_id}/result"),
        api.http.post(f"/v1/edits/{job_id}/cancel"),
    ):
        assert response.status_code == 404
        assert response.json()["code"] == "job_not_found"
        assert str(job_id) in response.json()["detail"]


def test_another_tenants_job_is_not_found(
    api: Downstream, client: Client, memory: MemoryLedger
) -> None:
    job_id = api.submit()
    client.tenant = "other"

    assert api.get(f"/v1/edits/{job_id}").status_code == 404
    assert api.http.post(f"/v1/edits/{job_id}/cancel").status_code == 404
    assert api.get("/v1/edits").json() == {"edits": [], "next": None}
    assert memory.get(JobId(UUID(job_id))).cancel_requested_at is None


def test_an_id_that_is_none_is_refused(api: Downstream) -> None:
    response = api.get("/v1/edits/first")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "job_id"


def test_the_result_is_a_redirect_to_the_picture(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.complete(job_id)
    response = api.get(f"/v1/edits/{job_id}/result")

    assert response.status_code == 307
    assert response.headers["location"].startswith(f"memory://artifacts/default/outputs/{job_id}")
    assert response.headers["cache-control"] == "no-store"


def test_no_result_says_why(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    early = api.get(f"/v1/edits/{job_id}/result")
    hand.fail(job_id)
    never = api.get(f"/v1/edits/{job_id}/result")

    assert [early.status_code, never.status_code] == [409, 409]
    assert early.json()["code"] == "no_result"
    assert "queued" in early.json()["detail"]
    assert "no luck" in never.json()["detail"]


def test_cancelling_a_queued_job_ends_it_and_twice_is_no_error(
    api: Downstream, memory: MemoryLedger
) -> None:
    job_id = api.submit()
    first = api.http.post(f"/v1/edits/{job_id}/cancel")
    second = api.http.post(f"/v1/edits/{job_id}/cancel")

    assert [first.status_code, second.status_code] == [200, 200]
    assert first.json()["state"] == second.json()["state"] == "cancelled"
    assert memory.history(JobId(UUID(job_id)))[-1].who == "api"


def test_cancelling_a_running_job_is_accepted_until_it_has_stopped(
    api: Downstream, hand: Hand
) -> None:
    job_id = api.submit()
    lease = hand.claim(job_id)
    asked = api.http.post(f"/v1/edits/{job_id}/cancel")
    hand.ledger.confirm_cancel(lease)
    done = api.http.post(f"/v1/edits/{job_id}/cancel")

    assert (asked.status_code, asked.json()["state"]) == (202, "running")
    assert asked.json()["cancel_requested"] is True
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")


def test_cancelling_a_finished_job_leaves_it_as_it_is(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.complete(job_id)
    response = api.http.post(f"/v1/edits/{job_id}/cancel")

    assert (response.status_code, response.json()["state"]) == (200, "succeeded")


def test_pages_lead_from_the_newest_to_the_oldest(api: Downstream) -> None:
    made = [api.submit(instruction=f"edit {one}", batch="a b") for one in range(5)]
    api.submit(instruction="of no batch")
    path, seen = "/v1/edits?batch=a%20b&limit=2", []
    while path:
        page = api.get(path).json()
        seen.append([one["id"] for one in page["edits"]])
        path = page["next"]

    assert seen == [made[:2:-1], made[2:0:-1], made[:1]]


def test_a_list_may_ask_for_a_state(api: Downstream, hand: Hand) -> None:
    done = api.submit()
    api.submit(instruction="make it blue")
    hand.complete(done)
    (one,) = api.get("/v1/edits?state=succeeded").json()["edits"]

    assert one["id"] == done
    assert "url" not in one["result"]


def test_a_list_may_ask_for_suspect_pictures(api: Downstream, hand: Hand) -> None:
    made = [api.submit(instruction=f"edit {one}") for one in range(3)]
    suspicion = Suspicion(code="flat", message="one colour")
    for job_id in made[:2]:
        hand.complete(job_id, suspect=suspicion)
    hand.complete(made[2])
    first = api.get("/v1/edits?suspect=true&limit=1").json()
    rest = api.get(first["next"]).json()

    found = [one for page in (first, rest) for one in page["edits"]]
    assert [one["id"] for one in found] == made[1::-1]
    assert found[0]["result"]["suspect"] == {"code": "flat", "message": "one colour"}
    assert rest["next"] is None


def test_a_list_refuses_what_it_cannot_mean(api: Downstream) -> None:
    for query in (
        "state=done",
        "limit=0",
        "limit=501",
        "before=yesterday",
        "batch=a%00b",
        "suspect=x",
    ):
        response = api.get(f"/v1/edits?{query}")

        assert response.status_code == 422, query
        assert response.json()["detail"].startswith(query.partition("=")[0])


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (
            "frob=1&batch=spring",
            "frob",
            "unknown filter; there are state, batch, suspect, limit, before",
        ),
        ("state=failed&state=queued", "state", "given twice"),
    ],
)
def test_a_list_refuses_a_filter_that_it_would_ignore(
    api: Downstream, query: str, field: str, message: str
) -> None:
    response = api.get(f"/v1/edits?{query}")

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"] == [{"field": field, "message": message}]
    assert response.json()["detail"] == f"{field}: {message}"


def test_a_submitted_picture_is_stored_once(api: Downstream, client: Client) -> None:
    assert isinstance(client.artifacts, MemoryArtifacts)

    api.submit()
    api.submit(instruction="make it blue")

    assert len(list(client.artifacts.keys("default/inputs/"))) == 1


def test_a_picture_that_was_deleted_has_no_link(
    api: Downstream, hand: Hand, memory: MemoryLedger
) -> None:
    job_id = api.submit(keep_for="0.001")
    hand.complete(job_id)
    eventually(lambda: bool(memory.due_results(LINK_FOR, limit=1)))
    memory.withdraw_results(LINK_FOR, limit=1)

    body = api.get(f"/v1/edits/{job_id}").json()
    direct = api.get(f"/v1/edits/{job_id}/result")

    assert (body["state"], body["result"]["url"]) == ("succeeded", None)
    assert body["result_deleted_at"] is not None
    assert direct.status_code == 409
    assert direct.json()["code"] == "no_result"
    assert "was deleted at" in direct.json()["detail"]


@pytest.mark.parametrize("path", ["/livez", "/docs", "/v1/edits?limit=1", "/v1/edits/{}"])
def test_head_is_answered_as_get_is_without_the_body(api: Downstream, path: str) -> None:
    """As some load balancers look whether a server lives."""
    asked = path.format(api.submit())
    head, get = api.http.head(asked), api.http.get(asked)

    assert head.status_code == get.status_code == 200
    assert dict(head.headers) == dict(get.headers)
    assert head.content == b""
