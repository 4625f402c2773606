"""One worker process of ours, on a simulated card."""

from __future__ import annotations

import logging
import os
import sys

from benchmarks.worker.card import SleepingCard
from benchmarks.worker.settings import CARD_SECONDS, RECORD
from jobs.connect import connect
from jobs.log import set_up
from worker.process import WorkerProcess
from worker.settings import WorkerSettings


def work() -> int:
    settings = WorkerSettings.load()
    set_up(as_json=False, level=logging.WARNING)
    services = connect(settings)
    engine = SleepingCard(settings.card, CARD_SECONDS, RECORD)
    return int(WorkerProcess(settings, services, engine).run())


if __name__ == "__main__":
    code = work()
    sys.stdout.flush()
    os._exit(code)
