"""python -m benchmarks.worker: each scene, one after the other, on the same servers."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from benchmarks import results, servers
from benchmarks.queue.sides import module
from benchmarks.worker import naive
from benchmarks.worker.card import wait
from benchmarks.worker.far import away
from benchmarks.worker.growth import measure
from benchmarks.worker.scenes import READY, WARM, Card, Scene, ours
from benchmarks.worker.waits import attempts, longest_wait_beside_free_card
from jobs.model import OutputFormat

SLOW: Final = 0.5  # seconds of an edit
FAST: Final = 0.15
USUAL: Final = 2.0  # on the cards of a host
CARDS: Final = 8
Figure = float | str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("--seconds", type=float, default=24, help="of work for each card (24)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large ledger")
    parser.add_argument("--only", help=f"scenes, by comma: {','.join(SCENES)}")
    parser.add_argument("--name", default="worker", help="of the file under build/bench")
    parser.add_argument("--try", dest="short", action="store_true", help="a minute: 6 s, few rows")
    chosen = parser.parse_args()
    asked = Asked(6, 20_000) if chosen.short else Asked(chosen.seconds, chosen.rows)
    name = f"{chosen.name}-try" if chosen.short else chosen.name
    wanted = chosen.only.split(",") if chosen.only else list(SCENES)
    figures = measured(asked, wanted)
    path = results.write(name, {"seconds": asked.seconds, "rows": asked.rows, **figures})
    results.show("one worker per card", ["", "measured"], [list(one) for one in figures.items()])
    print(path)


@dataclass(frozen=True, slots=True)
class Asked:
    seconds: float  #: of work for each card
    rows: int  #: jobs that have ended before, in the large ledger


def measured(asked: Asked, wanted: Sequence[str]) -> Mapping[str, Figure]:
    figures: dict[str, Figure] = {}
    with servers.started() as running, away(running.s3.url) as s3_url:
        environment = {
            **running.environment(),
            "BENCH_REDIS_URL": running.redis.url,
            "PACKSHOT_S3_URL": s3_url,
        }
        scene = Scene(environment)
        scene.submit(1)  # uploads the photograph
        for name in wanted:
            figures |= SCENES[name](scene, asked)
    return figures


def backlog(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    card = _worked_off(scene, round(asked.seconds / SLOW), SLOW, OutputFormat.PNG)
    return {
        "busy_share": round(card.busy_share(), 4),
        "cpu_s_per_job": round(card.cpu_s / card.jobs, 4),
        "gap_ms": round(1_000 * card.gap_s(), 2),
        "peak_mb": round(card.peak_mb),
    }


def fast_backlog(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    card = _worked_off(scene, round(asked.seconds / FAST), FAST, OutputFormat.JPEG)
    return {
        "busy_share_fast": round(card.busy_share(), 4),
        "cpu_s_per_job_fast": round(card.cpu_s / card.jobs, 4),
        "gap_ms_fast": round(1_000 * card.gap_s(), 2),
    }


def _worked_off(scene: Scene, jobs: int, seconds: float, output_format: OutputFormat) -> Card:
    before = scene.finished()
    scene.submit(jobs, output_format)
    (card,) = scene.work(ours(), seconds, lambda: scene.until_finished(before + jobs))
    return card


def naive_backlog(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    jobs = round(asked.seconds / SLOW)
    naive.app.conf.update(broker_url=scene.environment["BENCH_REDIS_URL"])
    source = scene.source()
    for number in range(jobs):
        naive.edit.delay(source, OutputFormat.PNG.value, number)

    def until_done() -> None:
        deadline = time.monotonic() + READY + 5 * asked.seconds
        while (done := sum(1 for _ in scene.services.artifacts.keys("naive/"))) < jobs:
            if time.monotonic() > deadline:
                raise SystemExit(f"the naive worker has done {done} of {jobs} jobs")
            wait(0.2)

    options = ["--pool", "solo", "--loglevel", "ERROR"]
    command = [*module("celery", "--app", "benchmarks.worker.naive", "worker"), *options]
    (card,) = scene.work(command, SLOW, until_done)
    return {
        "naive_busy_share": round(card.busy_share(), 4),
        "naive_cpu_s_per_job": round(card.cpu_s / card.jobs, 4),
    }


def few_jobs(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    """Two cards at about 60 % load: jobs come one by one, at random."""
    jobs = round(asked.seconds / SLOW * 2 * 0.6)
    rng = random.Random(0)  # noqa: S311 - no secret
    before = scene.finished()

    workers: list[UUID] = []

    def trickle() -> None:
        workers.extend(scene.until_alive(2))
        for _ in range(jobs):
            scene.submit(1)
            wait(rng.expovariate(2 * 0.6 / SLOW))
        scene.until_finished(before + jobs)

    scene.work(ours(), SLOW, trickle, cards=2)
    done = attempts(scene.services.database, workers)
    if len(done) < jobs:
        raise SystemExit(f"{len(done)} attempts on record, {jobs} were made")
    return {"longest_wait_beside_free_card_s": round(longest_wait_beside_free_card(done), 3)}


def host(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    """A host of eight cards, each with a worker of its own, under a backlog."""
    jobs = CARDS * max(2 * WARM, round(asked.seconds / USUAL))
    before = scene.finished()

    def work_off() -> None:
        scene.until_alive(CARDS)
        scene.submit(jobs)
        scene.until_finished(before + jobs)

    cards = scene.work(ours(), USUAL, work_off, cards=CARDS)
    done = [one for one in cards if one.jobs > WARM]
    cpu_s = sum(one.cpu_s for one in cards) / sum(one.jobs for one in cards)
    cores = results.cores()
    per_hour = 3_600 * CARDS / USUAL
    by_cpu = 3_600 * cores / cpu_s
    return {
        "host_busy_share": round(sum(one.busy_share() for one in done) / len(done), 4),
        "host_cpu_s_per_job": round(cpu_s, 4),
        "host_jobs_per_hour": round(sum(one.per_hour() for one in done)),
        "host_jobs_per_hour_by_cards": round(per_hour),
        "host_jobs_per_hour_by_cpu": round(by_cpu),
        "host_ends_first": "cards" if per_hour < by_cpu else "cpu",
        "host_ends_by_cpu_below_s": round(CARDS * cpu_s / cores, 3),
    }


def grown(scene: Scene, asked: Asked) -> Mapping[str, Figure]:
    """The ledger's part of a job's cost, in a small ledger and in a large one."""
    small, large = 1_000, asked.rows
    found = measure(scene.environment["PACKSHOT_DATABASE_URL"], (small, large))
    return {
        **{f"ledger_ms_per_job_{rows}": round(span, 3) for rows, span in found.items()},
        "ledger_growth": round(found[large] / found[small], 3),
    }


SCENES: Final[Mapping[str, Callable[[Scene, Asked], Mapping[str, Figure]]]] = {
    "backlog": backlog,
    "naive": naive_backlog,
    "fast": fast_backlog,
    "few": few_jobs,
    "host": host,
    "grown": grown,
}


if __name__ == "__main__":
    main()
