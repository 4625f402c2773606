"""What a supervisor is told, and what it tells its children."""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

from pydantic import Field

from jobs.settings import PREFIX
from worker.settings import SUPERVISOR_PORT, WorkerSettings
from worker.supervisor.inventory import Slot

#: What libraries on the processor take for their number of threads.
THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class SupervisorSettings(WorkerSettings):
    supervisor_port: int = Field(
        default=SUPERVISOR_PORT,
        ge=0,
        le=65_535,
        description="/metrics, /livez, /readyz and /status of the host, on loopback; 0: nowhere",
    )
    supervisor_patience: float = Field(
        default=60.0, gt=0, description="seconds that a worker may answer no probe"
    )
    start_timeout: float = Field(
        default=1_800.0, gt=0, description="seconds from a worker's start until it is ready"
    )
    restart_pause: float = Field(
        default=1.0, gt=0, description="seconds before the first restart, at most; then doubling"
    )
    restart_pause_most: float = Field(default=60.0, gt=0)
    card_failures: int = Field(
        default=5, ge=1, description="failures after which a card is taken out"
    )
    card_failures_within: float = Field(
        default=600.0, gt=0, description="seconds in which they must fall"
    )


def child_environment(slot: Slot, *, worker_id: UUID, health_port: int) -> dict[str, str]:
    """Ours, and what makes a process this card's.  What an operator has set stays."""
    ours = dict(os.environ)  # noqa: TID251 - this is the settings module
    threads = dict.fromkeys(THREADS, str(slot.threads))
    card = {
        "CUDA_VISIBLE_DEVICES": slot.visible,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONFAULTHANDLER": "1",  # where a crash in native code happened
        "PYTHONUNBUFFERED": "1",
        f"{PREFIX}CARD": slot.name,
        f"{PREFIX}WORKER_ID": str(worker_id),
        f"{PREFIX}HEALTH_PORT": str(health_port),
    }
    return {**threads, **ours, **card}


def available_cpus() -> frozenset[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
