"""Who offers what, and jobs for models that nobody offers yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.errors import ModelNotServed
from jobs.ledger import WORKER_TIMEOUT, Ledger
from jobs.model import NewJob
from tests.conformance.scenes import (
    LIGHTNING,
    MODEL,
    OTHER,
    QUEUE,
    SECOND,
    SLACK,
    WORKER,
    LetPass,
    accepted,
    asked,
    claimed,
    new,
    outcome,
    result,
    submitted,
    worker,
)

NEWER = replace(MODEL, revision="r2")
#: The same profiles in another queue.
BOTH = replace(MODEL, profile_group="both")
STRANGER = replace(MODEL, name="stranger", profile_group="lightning")


class ModelConformance:
    def test_a_registered_model_is_known(self, ledger: Ledger) -> None:
        ledger.register(WORKER)

        assert list(ledger.models()) == [MODEL]
        assert list(ledger.live_workers()) == [WORKER]

    def test_the_newest_registration_comes_first(self, ledger: Ledger) -> None:
        ledger.register(worker("gpu-2", model=NEWER))
        rolled_out = list(ledger.models())
        ledger.register(WORKER)

        assert rolled_out == [NEWER, MODEL]
        assert list(ledger.models()) == [MODEL, NEWER]

    def test_renewals_do_not_change_the_order(self, ledger: Ledger) -> None:
        """Else keys derived from the revision would change with them."""
        ledger.register(worker("gpu-2", model=NEWER))
        ledger.renew(WORKER.id, [])

        assert list(ledger.models()) == [NEWER, MODEL]

    def test_what_live_workers_offer_comes_first(self, ledger: Ledger, let_pass: LetPass) -> None:
        ledger.register(worker("gpu-2", model=NEWER))
        let_pass(WORKER_TIMEOUT + SECOND)
        ledger.renew(WORKER.id, [])

        assert list(ledger.models()) == [MODEL, NEWER]

    def test_another_revision_makes_another_job(self, ledger: Ledger) -> None:
        first = submitted(ledger)
        ledger.register(worker("gpu-2", model=NEWER))

        assert accepted(ledger, new()).created
        assert first.queue == QUEUE

    def test_a_worker_that_offers_more_is_believed(self, ledger: Ledger) -> None:
        more = replace(MODEL, profiles=("quality", "fast", "draft"))
        refused = outcome(ledger, NewJob(request=asked(profile="draft")))
        ledger.register(replace(WORKER, model=more))

        assert isinstance(refused, ModelNotServed)
        assert list(ledger.models()) == [more]
        assert submitted(ledger, NewJob(request=asked(profile="draft"))).queue == QUEUE

    def test_a_profile_leads_to_the_queue_of_its_group(self, ledger: Ledger) -> None:
        ledger.register(worker("gpu-2", model=LIGHTNING))

        assert submitted(ledger, NewJob(request=asked(profile="turbo"))).queue == LIGHTNING.queue
        assert submitted(ledger, NewJob(request=asked(profile="fast"))).queue == QUEUE

    def test_a_model_never_offered_is_refused(self, ledger: Ledger) -> None:
        refused = outcome(ledger, NewJob(request=asked(model="stranger")))

        assert isinstance(refused, ModelNotServed)
        assert "'stranger'" in str(refused)
        assert "edit" in str(refused)

    def test_a_profile_never_offered_is_refused(self, ledger: Ledger) -> None:
        refused = outcome(ledger, NewJob(request=asked(profile="turbo")))

        assert isinstance(refused, ModelNotServed)
        assert "fast, quality" in str(refused)

    def test_a_model_once_offered_is_accepted_without_its_workers(self, ledger: Ledger) -> None:
        ledger.retire(WORKER.id)

        assert submitted(ledger).queue == QUEUE
        assert list(ledger.models()) == [MODEL]

    @pytest.mark.parametrize("group", ["default", "lightning"])
    def test_a_job_may_wait_for_its_model(self, ledger: Ledger, group: str) -> None:
        job = submitted(ledger, NewJob(request=asked(model="stranger"), wait_for_model=True))
        alone = ledger.queues(), ledger.reroute(job.queue)
        saviour = worker("gpu-3", model=replace(STRANGER, profile_group=group))

        ledger.register(saviour)

        assert alone == ({QUEUE: 1, job.queue: 0}, 0)
        assert ledger.reroute(job.queue) == 1
        assert ledger.get(job.id).queue == saviour.model.queue
        assert claimed(ledger, job, by=saviour).attempt == 1

    def test_a_job_waits_on_for_a_worker_with_its_profile(self, ledger: Ledger) -> None:
        job = submitted(
            ledger, NewJob(request=asked(model="stranger", profile="turbo"), wait_for_model=True)
        )

        ledger.register(worker("gpu-3", model=STRANGER))

        assert ledger.reroute(job.queue) == 0
        assert ledger.get(job.id).queue == job.queue

    def test_a_job_that_waits_for_a_profile_is_not_given_to_who_lacks_it(
        self, ledger: Ledger
    ) -> None:
        job = submitted(ledger, NewJob(request=asked(profile="turbo"), wait_for_model=True))

        assert ledger.claim_next(WORKER) is None
        assert ledger.claim(job.id, WORKER) is None

    def test_a_served_job_stays_in_its_queue(self, ledger: Ledger) -> None:
        job = submitted(ledger)

        ledger.register(worker("gpu-3", model=BOTH))

        assert ledger.reroute(QUEUE) == 0
        assert ledger.get(job.id).queue == QUEUE

    @pytest.mark.parametrize("leaves", ["retires", "falls silent"])
    def test_jobs_whose_workers_are_gone_go_where_they_are_served(
        self, ledger: Ledger, let_pass: LetPass, leaves: str
    ) -> None:
        """A new grouping of the profiles is rolled out, its workers first."""
        job, other = accepted(ledger, new()).job, submitted(ledger, new("blue"))
        ledger.take_window(QUEUE, size=1)
        if leaves == "retires":
            ledger.retire(WORKER.id)
        else:
            let_pass(WORKER_TIMEOUT + SECOND)
        ledger.register(worker("gpu-3", model=BOTH))

        assert ledger.reroute(QUEUE, limit=1) == 1
        assert [ledger.get(one.id).queue for one in (job, other)] == [BOTH.queue, QUEUE]
        assert list(ledger.take_window(BOTH.queue, size=4)) == [job.id]

    def test_a_running_job_stays_with_who_has_it(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        ledger.retire(WORKER.id)
        ledger.register(worker("gpu-3", model=BOTH))

        assert ledger.reroute(QUEUE) == 0
        assert ledger.complete(lease, result(lease), timings={}).queue == QUEUE

    def test_a_worker_that_left_is_not_alive(self, ledger: Ledger) -> None:
        ledger.register(OTHER)

        ledger.retire(WORKER.id)

        assert list(ledger.live_workers()) == [OTHER]

    def test_a_worker_that_left_may_finish_its_jobs(self, ledger: Ledger) -> None:
        ledger.retire(WORKER.id)
        ledger.renew(WORKER.id, [])

        assert list(ledger.live_workers()) == []

    def test_a_worker_that_comes_back_is_alive(self, ledger: Ledger) -> None:
        ledger.retire(WORKER.id)
        ledger.register(WORKER)

        assert list(ledger.live_workers()) == [WORKER]

    def test_a_silent_worker_is_not_alive(self, ledger: Ledger, let_pass: LetPass) -> None:
        ledger.register(OTHER)
        let_pass(WORKER_TIMEOUT - SLACK)
        ledger.renew(OTHER.id, [])
        both = list(ledger.live_workers())
        let_pass(2 * SLACK)

        assert both == [WORKER, OTHER]
        assert list(ledger.live_workers()) == [OTHER]

    def test_nobody_knows_a_worker_that_never_registered(self, ledger: Ledger) -> None:
        ledger.retire(OTHER.id)
        ledger.renew(OTHER.id, [])

        assert list(ledger.live_workers()) == [WORKER]
