"""The system under measurement: schema and bucket made, a model known, a client connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from jobs.connect import Services, connect
from jobs.model import WorkerInfo
from jobs.settings import PREFIX, ProducerSettings
from producer.bootstrap import connect as connect_client
from producer.client import Client
from worker.engine.fake import FAKE_MODEL

NOBODY: Final = "nobody"  # makes the model known, and never works


def prepared(environment: Mapping[str, str]) -> tuple[Services, Client]:
    """From the ``PACKSHOT_…`` of an environment; what else it holds is left alone."""
    settings = ProducerSettings.model_validate(
        {
            name.removeprefix(PREFIX).lower(): url
            for name, url in environment.items()
            if name.startswith(PREFIX)
        }
    )
    services = connect(settings)
    services.init()
    nobody = WorkerInfo(id=uuid4(), holder=NOBODY, card="cpu:0", model=FAKE_MODEL)
    services.ledger.register(nobody)
    return services, connect_client(settings)
