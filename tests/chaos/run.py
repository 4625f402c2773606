"""One run from start to verdict: servers, workers, producers, nemesis, quiet, evidence."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

import psycopg
import redis

from jobs.connect import connect
from jobs.s3 import S3Store
from jobs.settings import ProducerSettings
from standalone.settings import child_environment
from tests.chaos import evidence, skew
from tests.chaos.checker import Verdict, judge
from tests.chaos.evidence import Evidence
from tests.chaos.fleet import Fleet, Slot
from tests.chaos.journal import Journal
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import PRODUCERS, Plan, schedule
from tests.chaos.shopper import MARK, PATIENCE, SHARED
from tests.chaos.stage import Stage, staged
from tests.services import eventually

STEPS: Final = 4
STEP_SECONDS: Final = 0.01
DRAIN_SECONDS: Final = 5
SAMPLE: Final = 0.1  # seconds between two looks at Redis
QUEUES: Final = "edit.*"  # keys of the lists that hold jobs
OPEN: Final = "SELECT count(*) FROM job WHERE state IN ('queued', 'running')"


@dataclass(kw_only=True)
class Run:
    plan: Plan
    stage: Stage
    say: Callable[[str], None]
    longest_list: int = 0
    ended: Event = field(default_factory=Event)

    def verdict(self) -> Verdict:
        fleet = self._fleet()
        with ExitStack() as stack:
            stack.callback(fleet.kill)
            journal = stack.enter_context(closing(Journal(self._file("faults"))))
            nemesis = Nemesis(stage=self.stage, fleet=fleet, journal=journal, say=self.say)
            fleet.revive()
            for slot in fleet.slots.values():
                self._until_ready(slot)
            stack.enter_context(self._sampling())
            observer = stack.enter_context(self._process("observer", self._observation(), {}))
            producers = [
                stack.enter_context(self._process("shopper", self._orders(number), self._through()))
                for number in range(self.plan.producers)
            ]
            nemesis.run(schedule(self.plan))
            nemesis.heal()
            self.say("no more faults; waiting for quiet")
            self._until_quiet(producers, fleet)
            fleet.end()
            observer.terminate()
            observer.wait(timeout=60)
        return judge(self._evidence(fleet))

    # ---- the actors

    def _fleet(self) -> Fleet:
        names = self.plan.worker_names
        wrong_clock = skew.environment(skew.library())
        if not wrong_clock:
            self.say(skew.MISSING)
        return Fleet(
            [
                Slot(
                    name=name,
                    card=f"cpu:{number}",
                    environment=self._worker(name) | (wrong_clock if name == names[-1] else {}),
                    log=self._file(name),
                )
                for number, name in enumerate(names)
            ]
        )

    def _worker(self, name: str) -> dict[str, str]:
        return {
            **self.stage.environment(name),
            "PACKSHOT_ENGINE": "fake",
            "PACKSHOT_LEASE_SECONDS": str(self.plan.lease),
            "PACKSHOT_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "PACKSHOT_FAKE_STEPS": str(STEPS),
            "PACKSHOT_FAKE_STEP_SECONDS": str(STEP_SECONDS),
            "PACKSHOT_LOG_JSON": "true",
        }

    def _until_ready(self, slot: Slot) -> None:
        ready = b"worker_ready"
        eventually(lambda: ready in slot.log.read_bytes(), within=timedelta(seconds=60))

    def _through(self) -> dict[str, str]:
        return self.stage.environment(PRODUCERS)

    def _orders(self, number: int) -> dict[str, Any]:
        """What all producers order is counted once."""
        distinct = self.plan.producers - (self.plan.producers - 1) / SHARED
        return {
            "name": f"producer-{number}",
            "seed": self.plan.seed,
            "jobs": math.ceil(self.plan.jobs / distinct),
            "seconds": self.plan.seconds * 0.9,
            "journal": str(self._file(f"promises-{number}")),
        }

    def _observation(self) -> dict[str, Any]:
        return {
            "database_url": self.stage.servers.postgres.url,
            "s3_url": self.stage.servers.s3.url,
            "journal": str(self._file("seen")),
        }

    @contextmanager
    def _process(
        self, module: str, orders: Mapping[str, Any], settings: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._file(module, suffix="log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"tests.chaos.{module}"],
                env=child_environment(settings),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(orders).encode())
            process.stdin.close()
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        thread = Thread(target=self._sample, name="sampler")
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join()

    def _sample(self) -> None:
        """The most messages of one list that the dispatchers sent; not those we repeat."""
        client = redis.Redis.from_url(self.stage.servers.redis.url, socket_timeout=1)
        ours = json.dumps(MARK).encode()
        while not self.ended.wait(SAMPLE):
            with suppress(redis.RedisError):
                for key in client.scan_iter(QUEUES, count=1000):
                    messages: Any = client.lrange(key, 0, -1)
                    length = sum(ours not in message for message in messages)
                    self.longest_list = max(self.longest_list, length)

    # ---- the end

    def _until_quiet(self, producers: list[subprocess.Popen[bytes]], fleet: Fleet) -> None:
        """Producers have said all, and no job is open; or none has ended for long.

        A busy machine may take its time, as long as it gets on.
        """
        for process in producers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=PATIENCE + 30)
        left, since = self._open_jobs(), monotonic()
        while left and monotonic() - since < self.plan.quiesce:
            fleet.revive()
            Event().wait(0.2)
            before, left = left, self._open_jobs()
            since = since if left == before else monotonic()

    def _open_jobs(self) -> int:
        with psycopg.connect(self.stage.servers.postgres.url) as connection:
            row = connection.execute(OPEN).fetchone()
        assert row is not None
        return int(row[0])

    def _evidence(self, fleet: Fleet) -> Evidence:
        jobs, moves = evidence.read_ledger(self.stage.servers.postgres.url)
        promises = [self._file(f"promises-{number}") for number in range(self.plan.producers)]
        return Evidence(
            jobs=jobs,
            moves=moves,
            objects=evidence.read_bucket(S3Store.from_url(self.stage.servers.s3.url)),
            promises=evidence.read_journals(promises),
            seen=evidence.read_journals([self._file("seen")]),
            told=evidence.read_journals([self._file(name) for name in self.plan.worker_names]),
            faults=evidence.read_journals([self._file("faults")]),
            longest_redis_list=self.longest_list,
            worker_exits=fleet.ended_by_themselves,
        )

    def _file(self, name: str, *, suffix: str = "jsonl") -> Path:
        return self.stage.folder / f"{name}.{suffix}"


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Verdict:
    """Everything is started, and ended, here; logs and journals stay in the folder."""
    with staged(folder, (*plan.worker_names, PRODUCERS)) as stage:
        env_file = folder / "packshot.env"
        urls = stage.servers.environment()
        env_file.write_text("\n".join(f"{name}={value}" for name, value in urls.items()))
        services = connect(ProducerSettings.load(env_file))
        services.init()
        services.close()
        return Run(plan=plan, stage=stage, say=say).verdict()
