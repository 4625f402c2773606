"""What a card's processes have counted, one after the other."""

from __future__ import annotations

from worker.supervisor.totals import Totals, merged

PAGE = """\
# HELP packshot_attempts_total Attempts by how they ended.
# TYPE packshot_attempts_total counter
packshot_attempts_total{{verdict="succeeded"}} {done}
# HELP packshot_queue_wait_seconds Waits.
# TYPE packshot_queue_wait_seconds histogram
packshot_queue_wait_seconds_bucket{{le="1.0"}} {done}
packshot_queue_wait_seconds_bucket{{le="+Inf"}} {done}
packshot_queue_wait_seconds_count {done}
packshot_queue_wait_seconds_sum 0.5
# HELP process_resident_memory_bytes Memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes {memory}
"""


def page(done: int, memory: int = 0) -> str:
    return PAGE.format(done=done, memory=memory)


def succeeded(totals: Totals) -> float:
    return totals.all("packshot_attempts_total", verdict="succeeded")


def test_a_count_goes_on_where_the_process_before_left_it() -> None:
    totals = Totals("cpu:0")
    for last in (3, 5):
        totals.take(page(1))
        totals.take(page(last))
        totals.turn()
    totals.take(page(2))

    assert succeeded(totals) == 10
    assert totals.now("packshot_attempts_total", verdict="succeeded") == 2


def test_the_memory_of_a_dead_process_is_no_memory() -> None:
    totals = Totals("cpu:0")
    totals.take(page(1, memory=7))
    before = totals.now("process_resident_memory_bytes")
    totals.turn()

    names = [sample.name for metric in merged([totals]).values() for sample in metric.samples]
    assert before == 7
    assert "process_resident_memory_bytes" not in names
    assert "packshot_attempts_total" in names


def test_samples_of_all_cards_stand_in_one_family_with_their_names() -> None:
    cards = [Totals("cpu:0"), Totals("cpu:1")]
    for number, totals in enumerate(cards, start=1):
        totals.take(page(number))

    metric = merged(cards)["packshot_attempts"]

    assert [(sample.labels, sample.value) for sample in metric.samples] == [
        ({"verdict": "succeeded", "card": "cpu:0"}, 1),
        ({"verdict": "succeeded", "card": "cpu:1"}, 2),
    ]


def test_buckets_add_up_over_processes() -> None:
    totals = Totals("cpu:0")
    totals.take(page(3))
    totals.turn()
    totals.take(page(4))

    assert totals.all("packshot_queue_wait_seconds_bucket", le="+Inf") == 7
    assert totals.all("packshot_queue_wait_seconds_sum") == 1.0
