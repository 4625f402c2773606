"""From settings to a client: the composition root of library, CLI and API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.tokens import counter_of
from producer.client import Client

# Drivers and pydantic are imported where they are used: ``import producer`` stays cheap.
if TYPE_CHECKING:
    from jobs.settings import ProducerSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialised:
    """What ``packshot init`` has made, or found."""

    revision: str  #: of the ledger's schema
    ledger: str  #: host:port/database
    bucket: str  #: host:port/bucket


def connect(settings: ProducerSettings | None = None) -> Client:
    """A client from ``PACKSHOT_…``; nothing is connected yet.  Raises ``BadSettings``."""
    from jobs.connect import connect as connect_services  # noqa: PLC0415
    from jobs.settings import ProducerSettings  # noqa: PLC0415

    settings = settings or ProducerSettings.load()
    count_tokens = counter_of(settings.tokenizer) if settings.tokenizer else None
    services = connect_services(settings)
    return Client(
        ledger=services.ledger,
        artifacts=services.artifacts,
        dispatcher=services.dispatcher,
        tenant=settings.tenant,
        model=settings.model,
        profile=settings.profile,
        count_tokens=count_tokens,
        on_close=services.close,
    )


def init(settings: ProducerSettings | None = None) -> Initialised:
    """Bring schema and bucket up to date.  Raises ``BadSettings``, ``Unavailable``."""
    from jobs.connect import connect as connect_services  # noqa: PLC0415
    from jobs.settings import ProducerSettings  # noqa: PLC0415

    services = connect_services(settings or ProducerSettings.load())
    try:
        revision = services.init()
    finally:
        services.close()
    return Initialised(
        revision=revision, ledger=services.database.where, bucket=services.artifacts.where
    )
