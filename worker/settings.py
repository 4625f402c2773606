"""What a worker process is told: ``PACKSHOT_…``, read once."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from jobs.errors import BadSettings
from jobs.settings import Settings

SUPERVISOR_PORT: Final = 9870


class WorkerSettings(Settings):
    engine: Literal["diffusers", "fake"] = "diffusers"
    card: str = "cpu:0"
    model: str = "qwen-image-edit-2509"
    model_dir: Path | None = Field(
        default=None, description="folder of the model's weights; needed by the diffusers engine"
    )
    profiles: str = Field(
        default="", description="profiles to serve, by comma; empty: all of the first one's load"
    )
    placement: Literal["auto", "resident", "model-offload", "group-offload"] = "auto"
    compiled: bool = Field(
        default=True, description="compile a resident model's blocks at start, on a GPU"
    )
    licences: str = Field(
        default="", description="models, by comma, whose limited licence you have accepted"
    )
    digests_dir: Path = Field(
        default=Path("~/.cache/packshot"), description="where the weights' sha256 are remembered"
    )
    release: str | None = None
    worker_id: UUID | None = Field(
        default=None, description="this process in the ledger; its supervisor chooses it"
    )
    provenance: bool = Field(
        default=True, description="say in each picture's XMP that a model made it"
    )
    provider: str = Field(
        default="Packshot", description="name or code of the service, in that label"
    )
    lease_seconds: float = Field(default=15.0, gt=0)
    drain_seconds: float = Field(default=120.0, ge=0)
    tick_seconds: float = Field(default=1.0, gt=0)
    threads: int | None = Field(default=None, description="CPU threads of the engine")
    card_timeout: float = Field(
        default=120.0,
        gt=0,
        description="seconds without a step, or another sign of life, after which a job hangs",
    )
    consumer_timeout: float = Field(
        default=15.0,
        gt=0,
        description="seconds that a message may lie in Redis while this worker has room",
    )
    health_port: int = Field(
        default=0, ge=0, le=65_535, description="/livez and /readyz on loopback; 0: nowhere"
    )
    fake_step_seconds: float = Field(default=0.0, ge=0)
    fake_steps: int = Field(default=4, ge=1)
    fake_faults: bool = Field(
        default=False, description="obey faults that an instruction names, such as [hang]"
    )

    @property
    def holder(self) -> str:
        """This process by its host, card and pid: as people find it, and logs and the audit name
        it."""
        return f"{socket.gethostname()}/{self.card}/{os.getpid()}"

    @property
    def weights(self) -> Path:
        """The model's folder.  Raises ``BadSettings`` if none is named."""
        if self.model_dir is None:
            raise BadSettings("PACKSHOT_MODEL_DIR is not set (folder of the model's weights)")
        return self.model_dir

    @property
    def profile_names(self) -> tuple[str, ...]:
        return _names(self.profiles)

    @property
    def licence_names(self) -> tuple[str, ...]:
        return _names(self.licences)


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())
