"""python -m benchmarks.worker: each scene, one after the other, on the same servers."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from benchmarks import results, servers
from benchmarks.queue.sides import module
from benchmarks.worker import naive
from benchmarks.worker.card import wait
from benchmarks.worker.scenes import Card, Scene, ours
from benchmarks.worker.waits import attempts, longest_wait_beside_free_card
from jobs.model import OutputFormat

SLOW: Final = 0.5  # seconds of an edit
FAST: Final = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("--seconds", type=float, default=30, help="of work for each card (30)")
    parser.add_argument("--only", help=f"scenes, by comma: {','.join(SCENES)}")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",") if chosen.only else list(SCENES)
    figures: dict[str, float] = {}
    with servers.started() as running:
        environment = {**running.environment(), "BENCH_REDIS_URL": running.redis.url}
        scene = Scene(environment)
        scene.submit(1)  # uploads the photograph
        for name in wanted:
            figures |= SCENES[name](scene, chosen.seconds)
    path = results.write("worker", {"seconds": chosen.seconds, **figures})
    results.show("one worker per card", ["", "measured"], [list(one) for one in figures.items()])
    print(path)


def backlog(scene: Scene, seconds: float) -> Mapping[str, float]:
    card = _worked_off(scene, round(seconds / SLOW), SLOW, OutputFormat.PNG)
    return {
        "busy_share": round(card.busy_share(), 4),
        "cpu_s_per_job": round(card.cpu_s / card.jobs, 4),
        "peak_mb": round(card.peak_mb),
    }


def fast_backlog(scene: Scene, seconds: float) -> Mapping[str, float]:
    card = _worked_off(scene, round(seconds / FAST), FAST, OutputFormat.JPEG)
    return {
        "busy_share_fast": round(card.busy_share(), 4),
        "cpu_s_per_job_fast": round(card.cpu_s / card.jobs, 4),
    }


def _worked_off(scene: Scene, jobs: int, seconds: float, output_format: OutputFormat) -> Card:
    before = scene.finished()
    scene.submit(jobs, output_format)
    (card,) = scene.work(ours(), seconds, lambda: scene.until_finished(before + jobs))
    return card


def naive_backlog(scene: Scene, seconds: float) -> Mapping[str, float]:
    jobs = round(seconds / SLOW)
    naive.app.conf.update(broker_url=scene.environment["BENCH_REDIS_URL"])
    source = scene.source()
    for number in range(jobs):
        naive.edit.delay(source, OutputFormat.PNG.value, number)

    def until_done() -> None:
        prefix = "naive/"
        while sum(1 for _ in scene.services.artifacts.keys(prefix)) < jobs:
            wait(0.2)

    options = ["--pool", "solo", "--loglevel", "ERROR"]
    command = [*module("celery", "--app", "benchmarks.worker.naive", "worker"), *options]
    (card,) = scene.work(command, SLOW, until_done)
    return {
        "naive_busy_share": round(card.busy_share(), 4),
        "naive_cpu_s_per_job": round(card.cpu_s / card.jobs, 4),
    }


def few_jobs(scene: Scene, seconds: float) -> Mapping[str, float]:
    """Two cards at about 60 % load: jobs come one by one, at random."""
    jobs = round(seconds / SLOW * 2 * 0.6)
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


SCENES: Final[Mapping[str, Callable[[Scene, float], Mapping[str, float]]]] = {
    "backlog": backlog,
    "naive": naive_backlog,
    "fast": fast_backlog,
    "few": few_jobs,
}


if __name__ == "__main__":
    main()
