"""Whose turn it is on a fleet of cards: a batch delays nobody by more than one job a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import redis

from jobs.celery_dispatch import CeleryDispatcher
from jobs.ledger import POSITION_LIMIT
from jobs.model import JobId, Priority
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.reconciler import WINDOW_PER_WORKER
from tests.conformance.scenes import MODEL, WORKER, all_submitted, new, several, submitted
from tests.integration.jobs.fleet import Fleet, Path

CARDS = 3
MANY = 300  # more makes no difference: test_plans.py

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet(
    database: Database, ledger: PostgresLedger, redis_url: str
) -> Iterator[Callable[..., Fleet]]:
    ledger.register(WORKER)
    ledger.retire(WORKER.id)  # its model is known, its card is none of the fleet's
    dispatcher = CeleryDispatcher(redis_url)

    def make(path: Path = Path.CLAIM, *, cards: int = CARDS, claims_ahead: bool = True) -> Fleet:
        fleet = Fleet(database, dispatcher, redis_url, path, claims_ahead)
        fleet.add(cards)
        return fleet

    with redis.Redis.from_url(redis_url) as server:
        server.delete(MODEL.queue)
        yield make
        server.delete(MODEL.queue)
    dispatcher.close()


def batch_under_way(fleet: Fleet, ledger: PostgresLedger, **options: Priority) -> list[JobId]:
    """A tenant's batch: on all cards, and in all of the window."""
    ids = all_submitted(ledger, several(MANY, tenant="batch", **options))
    fleet.fill()
    for _ in range(3):
        fleet.round()
    standing = fleet.dispatcher.waiting(MODEL.queue)
    assert len(standing) == WINDOW_PER_WORKER * len(fleet.cards)
    assert standing <= {*ids}
    return ids


@pytest.mark.parametrize("cards", [1, CARDS])
@pytest.mark.parametrize("claims_ahead", [True, False])
@pytest.mark.parametrize("path", Path)
def test_a_batch_delays_a_single_picture_by_one_job_a_card_at_most(
    make_fleet: MakeFleet, ledger: PostgresLedger, path: Path, cards: int, *, claims_ahead: bool
) -> None:
    fleet = make_fleet(path, cards=cards, claims_ahead=claims_ahead)
    batch_under_way(fleet, ledger)
    claims, starts = len(fleet.claims), len(fleet.starts)

    one = submitted(ledger, new(tenant="single")).id
    fleet.round()
    fleet.round()

    assert fleet.claims[claims].id == one
    # Only what was claimed ahead when it came: one a card.
    assert fleet.starts[starts:].index(one) <= (cards if claims_ahead else 0)


@pytest.mark.parametrize("path", Path)
def test_interactive_work_passes_a_batch_of_its_own_tenant(
    make_fleet: MakeFleet, ledger: PostgresLedger, path: Path
) -> None:
    fleet = make_fleet(path)
    batch_under_way(fleet, ledger, priority=Priority.BULK)
    claims = len(fleet.claims)

    urgent = submitted(ledger, new(tenant="batch", priority=Priority.INTERACTIVE)).id
    fleet.round()

    assert fleet.claims[claims].id == urgent


@pytest.mark.parametrize("path", Path)
@pytest.mark.parametrize("cards", [1, CARDS])
def test_two_batches_share_the_cards(
    make_fleet: MakeFleet, ledger: PostgresLedger, path: Path, cards: int
) -> None:
    fleet = make_fleet(path, cards=cards)
    batch_under_way(fleet, ledger)
    claims = len(fleet.claims)

    all_submitted(ledger, several(200, tenant="another"))
    for _ in range(24):
        fleet.round()

    shares = Counter(job.tenant for job in fleet.claims[claims:])
    assert shares.total() == 24 * cards
    assert abs(shares["batch"] - shares["another"]) <= 2 * cards


def test_a_message_that_served_another_job_costs_its_own_nothing(
    make_fleet: MakeFleet, ledger: PostgresLedger
) -> None:
    """Each job runs once, whatever hint it came by, and none is left behind."""
    fleet = make_fleet(Path.MESSAGE)
    ids = [
        *all_submitted(ledger, several(20, tenant="a")),
        *all_submitted(ledger, several(5, tenant="b", priority=Priority.INTERACTIVE)),
        *all_submitted(ledger, several(7, tenant="c")),
    ]
    fleet.fill()
    while len(fleet.claims) < len(ids):
        before = len(fleet.claims)
        fleet.round()
        assert len(fleet.claims) > before

    assert sorted(fleet.starts + [card.ahead.job.id for card in fleet.cards if card.ahead]) == (
        sorted(ids)
    )


def test_starts_are_estimated_in_their_order_and_by_the_right_size(
    make_fleet: MakeFleet, ledger: PostgresLedger
) -> None:
    seconds = 10.0
    fleet = make_fleet(claims_ahead=False)
    all_submitted(ledger, several(60, tenant="a"))
    for _ in range(4):
        fleet.round(seconds=seconds)
    late = [*all_submitted(ledger, several(30, tenant="b")), submitted(ledger, new(tenant="c")).id]

    told = {}
    for job_id in late:
        place = ledger.place(job_id)
        assert place is not None
        assert place.before < POSITION_LIMIT
        assert place.starts_in is not None
        told[job_id] = place.starts_in.total_seconds()
    took: dict[JobId, float] = {}
    for number in range(1, 40):
        begun = len(fleet.starts)
        fleet.round(seconds=seconds)
        took |= dict.fromkeys(fleet.starts[begun:], number * seconds)

    assert sorted(late, key=lambda one: (took[one], one)) == sorted(
        late, key=lambda one: (took[one], told[one], one)
    )
    for job_id in late:
        assert told[job_id] / 2 - seconds <= took[job_id] <= 2 * told[job_id] + seconds
