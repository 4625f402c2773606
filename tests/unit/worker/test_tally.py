"""What a worker counts, as Prometheus reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.worker.bench import OTHER, WORKER, Bench, new
from worker.tally import Tally


def samples(tally: Tally) -> dict[str, float]:
    """Values by name and labels."""
    found = {}
    for family in text_string_to_metric_families(tally.page().body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def tallied(bench: Bench) -> Tally:
    tally = Tally()
    tally.watch(lambda: bench.card.held is not None)
    tally.depend_on([bench.keeper.outage])
    bench.runner = replace(bench.runner, on_ended=tally.ended)
    return tally


def test_attempts_are_counted_by_verdict_and_seconds_by_stage() -> None:
    bench = Bench()
    tally = tallied(bench)

    bench.run(bench.lease())

    found = samples(tally)
    assert found["packshot_attempts_total{verdict=succeeded}"] == 1
    assert found["packshot_stage_seconds_total{stage=card}"] > 0
    assert found["packshot_card_busy"] == 0
    assert "packshot_stage_seconds_total{stage=total}" not in found


def test_a_service_that_is_away_is_shown() -> None:
    bench = Bench()
    tally, shown = tallied(bench), "packshot_service_away{service=ledger}"
    before = samples(tally)[shown]
    bench.keeper.outage.begins("refused")
    meanwhile = samples(tally)[shown]
    bench.keeper.outage.ends()

    assert (before, meanwhile, samples(tally)[shown]) == (0, 1, 0)


def test_it_knows_whether_somebody_has_read_the_last_attempt() -> None:
    bench = Bench()
    tally = tallied(bench)
    nothing = tally.wait_read(0)
    bench.run(bench.lease())
    unread = tally.wait_read(0)
    page = tally.page()
    unsent = tally.wait_read(0)
    page.sent()

    assert (nothing, unread, unsent, tally.wait_read(0)) == (True, False, False, True)


def test_a_wait_is_counted_once_a_job_and_by_the_ledgers_clock() -> None:
    bench = Bench()
    tally = tallied(bench)
    first = bench.lease()
    bench.ledger.lose_worker(WORKER.id, why="killed")
    bench.ledger.register(WORKER)
    again = bench.ledger.claim(first.job.id, OTHER, lease=timedelta(minutes=1))
    assert again is not None

    bench.run(again)
    waits = [samples(tally)["packshot_queue_wait_seconds_count{priority=normal}"]]
    bench.run(bench.lease(new("make it blue")))
    waits.append(samples(tally)["packshot_queue_wait_seconds_count{priority=normal}"])

    assert waits == [0, 1]


def test_the_card_is_busy_while_a_job_is_on_it() -> None:
    seen = []
    bench = Bench(fault=lambda *_: seen.append(samples(tally)["packshot_card_busy"]))
    tally = tallied(bench)

    bench.run(bench.lease())

    assert set(seen) == {1.0}
