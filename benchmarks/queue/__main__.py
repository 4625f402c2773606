"""python -m benchmarks.queue: every side, one after the other, on the same servers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import psycopg

from benchmarks import results, servers
from benchmarks.queue.ours import Packshot
from benchmarks.queue.sides import WARM_UP, Rate, Side, timed, worked
from standalone.servers import Servers

BATCH: Final = 5  # times as many jobs for ``submit_many``, which is over too soon otherwise
ROUNDS: Final = 2  # of all sides in turn, so that whatever else the machine does meets them all
COLUMNS: Final = ("submit_per_s", "submit_many_per_s", "process_per_s", "process_pictures_per_s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue")
    parser.add_argument("--jobs", type=int, default=2_000, help="of each measurement (2,000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="a step of a round (8)")
    parser.add_argument("--only", help=f"sides, by comma: {','.join(SIDES)}")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",") if chosen.only else list(SIDES)
    with servers.started() as running:
        environment = {**running.environment(), **_others(running)}
        contest = Contest({name: SIDES[name](environment) for name in wanted}, environment)
        for _ in range(ROUNDS):
            contest.round(chosen.jobs // ROUNDS, chosen.seconds)
    figures = contest.figures()
    path = results.write("queue", {"jobs": chosen.jobs, **figures})
    rows = [[name, *(figures.get(_key(name, column)) for column in COLUMNS)] for name in wanted]
    results.show("jobs per second", ["", *COLUMNS], rows)
    print(path)


class Contest:
    """Every side does the same, one after the other, round by round."""

    def __init__(self, sides: Mapping[str, Side], environment: Mapping[str, str]) -> None:
        self._sides = sides
        self._environment = environment
        self._rates: dict[str, Rate] = {}
        self._dispatched = 0.0
        for side in sides.values():
            side.submit(WARM_UP)  # connections, plans and caches are there from here on

    def round(self, jobs: int, seconds: float) -> None:
        many = BATCH * jobs
        for name, side in self._sides.items():
            self._add(name, "submit_per_s", timed(jobs, side.submit, slices=20, seconds=seconds))
        for name, side in self._sides.items():
            rate = timed(many, side.submit_many, slices=5, seconds=seconds)
            self._add(name, "submit_many_per_s", rate)
            if isinstance(side, Packshot):
                self._dispatched = max(self._dispatched, _lasts(side.dispatched))
        for name, side in self._sides.items():
            if isinstance(side, Packshot):
                rate = worked(side.with_pictures(), self._environment, seconds)
                self._add(name, "process_pictures_per_s", rate)
            self._add(name, "process_per_s", worked(side, self._environment, seconds))

    def _add(self, side: str, what: str, rate: Rate) -> None:
        key = _key(side, what)
        self._rates[key] = self._rates.get(key, Rate(jobs=0, seconds=0.0)) + rate

    def figures(self) -> dict[str, float]:
        found = {key: rate.per_s for key, rate in self._rates.items()}
        if "packshot" in self._sides:
            found["all_dispatched_s"] = round(self._dispatched, 3)
        return found


def _lasts(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


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
