"""python -m benchmarks.queue: every side, one after the other, on the same servers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import psycopg

from benchmarks import results, servers
from benchmarks.queue.ours import Packshot
from benchmarks.queue.sides import Side, process, timed
from standalone.servers import Servers

BATCH: Final = 5  # times as many jobs for ``submit_many``, which is over too soon otherwise
COLUMNS: Final = ("submit_per_s", "submit_many_per_s", "process_per_s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue")
    parser.add_argument("--jobs", type=int, default=2_000, help="of each measurement (2,000)")
    parser.add_argument("--only", help=f"sides, by comma: {','.join(SIDES)}")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",") if chosen.only else list(SIDES)
    figures: dict[str, float] = {}
    with servers.started() as running:
        environment = {**running.environment(), **_others(running)}
        for name in wanted:
            figures |= measured(SIDES[name](environment), chosen.jobs, environment)
    path = results.write("queue", {"jobs": chosen.jobs, **figures})
    rows = [[name, *(figures[_key(name, column)] for column in COLUMNS)] for name in wanted]
    results.show("jobs per second", ["", *COLUMNS], rows)
    print(path)


def measured(side: Side, jobs: int, environment: Mapping[str, str]) -> dict[str, float]:
    side.submit(jobs // 20)  # connections, plans and caches are there from here on
    figures = {"submit_per_s": timed(jobs, lambda: side.submit(jobs)).per_s}
    many = BATCH * jobs
    figures["submit_many_per_s"] = timed(many, lambda: side.submit_many(many)).per_s
    if isinstance(side, Packshot):
        figures["all_dispatched_s"] = round(timed(1, side.dispatched).seconds, 3)
    figures["process_per_s"] = process(side, jobs, environment).per_s
    return {_key(side.name or "packshot", name): value for name, value in figures.items()}


def _key(side: str, name: str) -> str:
    return name if side == "packshot" else f"{side}_{name}"


def _others(running: Servers) -> dict[str, str]:
    """A database and a Redis database of their own for the other queues."""
    url = urlsplit(running.postgres.url)
    with psycopg.connect(running.postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench")
    return {
        "BENCH_POSTGRES_URL": url._replace(path="/bench").geturl(),
        "BENCH_REDIS_URL": urlsplit(running.redis.url)._replace(path="/1").geturl(),
    }


def _celery(environment: Mapping[str, str]) -> Side:
    from benchmarks.queue.raw_celery import RawCelery  # noqa: PLC0415 - only if asked for

    return RawCelery(environment["BENCH_REDIS_URL"])


def _rq(environment: Mapping[str, str]) -> Side:
    from benchmarks.queue.raw_rq import RawRq  # noqa: PLC0415 - as above

    return RawRq(environment["BENCH_REDIS_URL"])


def _procrastinate(environment: Mapping[str, str]) -> Side:
    from benchmarks.queue.raw_procrastinate import RawProcrastinate  # noqa: PLC0415 - as above

    return RawProcrastinate(environment["BENCH_POSTGRES_URL"])


SIDES: Final[Mapping[str, Callable[[Mapping[str, str]], Side]]] = {
    "packshot": Packshot,
    "celery": _celery,
    "rq": _rq,
    "procrastinate": _procrastinate,
}


if __name__ == "__main__":
    main()
