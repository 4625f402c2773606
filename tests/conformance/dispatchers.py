"""What every dispatcher keeps to: subclass it with fixtures ``dispatcher`` and ``away``."""

from __future__ import annotations

import secrets

import pytest

from jobs.dispatch import Dispatcher
from jobs.errors import Unavailable
from jobs.ids import new_job_id

ONE, TWO = new_job_id(), new_job_id()


class DispatcherConformance:
    """Each test has a queue of its own; the broker of ``away`` does not answer."""

    @pytest.fixture
    def queue(self) -> str:
        return f"edit.test.{secrets.token_hex(4)}"

    def test_dispatched_jobs_wait_in_their_queue(self, dispatcher: Dispatcher, queue: str) -> None:
        dispatcher.dispatch(queue, [ONE, TWO])

        assert dispatcher.waiting(queue) == {ONE, TWO}
        assert dispatcher.ready()

    def test_one_at_a_time_has_the_turn_of_a_queue(
        self, dispatcher: Dispatcher, queue: str
    ) -> None:
        elsewhere = f"{queue}.other"
        with (
            dispatcher.turn(queue) as first,
            dispatcher.turn(queue) as second,
            dispatcher.turn(elsewhere) as other,
        ):
            pass
        with dispatcher.turn(queue) as third:
            pass

        assert (first, second, other, third) == (True, False, True, True)

    def test_without_a_broker_nobody_has_a_turn(self, away: Dispatcher, queue: str) -> None:
        with away.turn(queue) as mine:
            assert not mine

    def test_no_other_queue_has_them(self, dispatcher: Dispatcher, queue: str) -> None:
        dispatcher.dispatch(queue, [ONE])

        assert dispatcher.waiting(f"{queue}.other") == set()

    def test_a_job_may_be_dispatched_twice(self, dispatcher: Dispatcher, queue: str) -> None:
        dispatcher.dispatch(queue, [ONE])
        dispatcher.dispatch(queue, [ONE])

        assert dispatcher.waiting(queue) == {ONE}
        assert dispatcher.length(queue) == 2

    def test_dispatching_nothing_does_nothing(self, dispatcher: Dispatcher, queue: str) -> None:
        dispatcher.dispatch(queue, [])

        assert dispatcher.waiting(queue) == set()
        assert dispatcher.length(queue) == 0

    def test_a_broker_that_is_away_cannot_be_told(self, away: Dispatcher, queue: str) -> None:
        with pytest.raises(Unavailable):
            away.dispatch(queue, [ONE])

        assert not away.ready()

    def test_a_broker_that_is_away_cannot_be_asked(self, away: Dispatcher, queue: str) -> None:
        with pytest.raises(Unavailable):
            away.waiting(queue)

        assert not away.ready()

    def test_a_broker_that_is_away_cannot_be_counted(self, away: Dispatcher, queue: str) -> None:
        with pytest.raises(Unavailable):
            away.length(queue)

        assert not away.ready()
