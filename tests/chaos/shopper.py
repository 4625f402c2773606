"""A producer: submits, sends things twice, withdraws some, and writes down what it was promised.

A process of its own, on the client library.  ``python -m tests.chaos.shopper`` reads its orders
as one JSON object from standard input.
"""

from __future__ import annotations

import io
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final, Self

from kombu.exceptions import OperationalError
from PIL import Image

from jobs.celery_dispatch import CeleryDispatcher
from jobs.connect import Services, connect
from jobs.dispatch import EDIT_IMAGE
from jobs.errors import IdempotencyConflict, JobsError, ModelNotServed, Unavailable
from jobs.ledger import Submitted
from jobs.model import DERIVED_KEY, Job
from jobs.settings import ProducerSettings
from producer import Client, Edit, Picture
from tests.chaos.journal import Journal

PICTURES: Final = 3
SIDE: Final = 32  # pixels
PATIENCE: Final = 120.0  # seconds after the nemesis; what is not acknowledged then never was
PAUSE: Final = 0.3  # seconds between two tries
REPEATS: Final = 3
#: Each of so many orders is one that the other producers submit as well, under the same key.
SHARED: Final = 10
#: Marks messages of ours, so that nobody takes them for the dispatcher's.
MARK: Final = "x-chaos"
#: Shares of what is submitted.
DERIVED: Final = 0.15  # no key given: derived from the content
HURRIED: Final = 0.02  # with a deadline that a backlog may break
TWICE: Final = 0.10  # sent again a moment later
CONFLICTING: Final = 0.03  # sent again with another request
REPEATED: Final = 0.08  # its message comes again ``REPEATS`` times
WITHDRAWN: Final = 0.06  # cancelled at once, most while queued
STOPPED: Final = 0.04  # cancelled later, some while running


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    name: str
    seed: int
    jobs: int
    seconds: float
    journal: str

    @classmethod
    def read(cls) -> Self:
        return cls(**json.load(sys.stdin))


class Shopper:
    """One customer's program.  It tries again until it is acknowledged, as the manual says."""

    def __init__(self, orders: Orders, client: Client, dispatcher: CeleryDispatcher) -> None:
        self.orders = orders
        self.client = client
        self.dispatcher = dispatcher
        self.journal = Journal(Path(orders.journal))
        self.chance = random.Random(f"{orders.seed}/{orders.name}")
        self.pictures = [_picture(number) for number in range(PICTURES)]
        self.known: list[Job] = []
        self.until = time.monotonic() + orders.seconds + PATIENCE

    def run(self) -> None:
        began, made = time.monotonic(), 0
        while made < self.orders.jobs:
            size = min(self.chance.choice((1, 1, 2, 5, 10, 20)), self.orders.jobs - made)
            edits = [self._edit(made + number) for number in range(size)]
            made += size
            acknowledged = self._submit(edits)
            self._be_difficult(edits, acknowledged)
            due = began + self.orders.seconds * made / self.orders.jobs
            Event().wait(max(0.0, due - time.monotonic()))
        self.journal.write({"do": "done"})

    def _edit(self, number: int) -> Edit:
        owner = self.orders.name if number % SHARED else "all"
        instruction = f"order {number} of {owner}"
        dice = self.chance.random()
        derived = dice < DERIVED and owner != "all"
        hurried = dice > 1 - HURRIED and owner != "all"
        return Edit(
            pictures=[self.pictures[number % PICTURES]],
            instruction=instruction,
            idempotency_key=None if derived else instruction,
            start_within=timedelta(seconds=0.5) if hurried else None,
            wait_for_model=True,
        )

    def _submit(self, edits: Sequence[Edit]) -> dict[str, Job]:
        """By instruction; empty for what nobody acknowledged in time."""
        self.journal.write(*[{"do": "submit", "what": edit.instruction} for edit in edits])
        acknowledged: dict[str, Job] = {}
        left = list(edits)
        while left and time.monotonic() < self.until:
            outcomes = self.client.submit_many(left)
            pairs = list(zip(left, outcomes, strict=True))
            taken = {edit.instruction: one.job for edit, one in pairs if isinstance(one, Submitted)}
            self.journal.write(*[_ack(what, job) for what, job in taken.items()])
            acknowledged |= taken
            self._tell([one for one in outcomes if isinstance(one, JobsError)])
            left = [edit for edit in left if edit.instruction not in taken]
            if left:
                Event().wait(PAUSE)
        self.known += acknowledged.values()
        return acknowledged

    def _tell(self, errors: Sequence[JobsError]) -> None:
        """Only an outage may be the answer to an order that is in order."""
        odd = [one for one in errors if not isinstance(one, Unavailable)]
        self.journal.write(
            *[{"do": "refused", "why": f"{type(one).__name__}: {one}"} for one in odd]
        )

    def _be_difficult(self, edits: Sequence[Edit], jobs: dict[str, Job]) -> None:
        for edit in edits:
            job = jobs.get(edit.instruction)
            if job is None:
                continue
            dice = self.chance.random
            if dice() < TWICE:
                self._submit([edit])
            if dice() < CONFLICTING and edit.idempotency_key:
                self._conflict(edit)
            if dice() < REPEATED:
                self._repeat(job)
            if dice() < WITHDRAWN:
                self._cancel(job)
            if dice() < STOPPED:
                self._cancel(self.chance.choice(self.known[-30:]))

    def _conflict(self, edit: Edit) -> None:
        """One key, another request: to be refused, whenever it is asked."""
        try:
            self.client.submit(replace(edit, instruction=f"not {edit.instruction}"))
        except IdempotencyConflict:
            self.journal.write({"do": "conflict", "accepted": False})
        except (Unavailable, ModelNotServed):
            pass
        else:
            self.journal.write({"do": "conflict", "accepted": True})

    def _repeat(self, job: Job) -> None:
        if not self.dispatcher.ready():
            return
        with suppress(OperationalError, OSError):
            for _ in range(REPEATS):
                self.dispatcher.app.send_task(
                    EDIT_IMAGE,
                    args=(str(job.id),),
                    task_id=str(job.id),
                    queue=job.queue,
                    headers={MARK: True},
                    retry=False,
                )
            self.journal.write({"do": "repeat", "job": str(job.id), "times": REPEATS})

    def _cancel(self, job: Job) -> None:
        """Not under a derived key, which would pass to a new job when the order comes again."""
        if not job.idempotency_key.startswith(DERIVED_KEY):
            with suppress(Unavailable):
                saw = self.client.cancel(job.id, who=self.orders.name).state
                self.journal.write({"do": "cancel", "job": str(job.id), "saw": saw.value})


def _ack(what: str, job: Job) -> dict[str, Any]:
    return {"do": "ack", "what": what, "job": str(job.id), "key": job.idempotency_key}


def _picture(number: int) -> Picture:
    buffer = io.BytesIO()
    Image.radial_gradient("L").rotate(number * 30).resize((SIDE, SIDE)).save(buffer, "PNG")
    return Picture(name=f"gradient-{number}.png", data=buffer.getvalue())


def main() -> None:
    orders = Orders.read()
    services: Services = connect(ProducerSettings.load())
    client = Client(
        ledger=services.ledger,
        artifacts=services.artifacts,
        dispatcher=services.dispatcher,
        model="fake",
        on_close=services.close,
    )
    with client:
        Shopper(orders, client, services.dispatcher).run()


if __name__ == "__main__":
    main()
