"""From settings to a client: the composition root of library, CLI and API."""

from __future__ import annotations

from jobs.settings import ProducerSettings
from producer.client import Client


def connect(settings: ProducerSettings | None = None) -> Client:
    """A client from ``PACKSHOT_…``; drivers are imported only now.  Raises ``BadSettings``."""
    from jobs.connect import connect as connect_services  # noqa: PLC0415 - keeps imports cheap

    settings = settings or ProducerSettings.load()
    services = connect_services(settings)
    return Client(
        ledger=services.ledger,
        artifacts=services.artifacts,
        dispatcher=services.dispatcher,
        tenant=settings.tenant,
        model=settings.model,
        profile=settings.profile,
        on_close=services.close,
    )
