"""Who offers what: the models ever registered, and the workers that live."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, RowMapping, and_, false, func, select

from jobs.model import ServedModel, WorkerInfo
from jobs.postgres.tables import is_alive, model, worker

REMEMBERED: Final = 1.0  # seconds
#: A worker's own registration.
_ITS_MODEL = and_(
    worker.c.model == model.c.name,
    worker.c.profile_group == model.c.profile_group,
    worker.c.revision == model.c.revision,
)


class Models:
    """``served_models``, remembered for a moment: each submission needs them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = -math.inf
        self._models: list[ServedModel] = []

    def known(self, connection: Connection) -> list[ServedModel]:
        """As they were a second ago at most."""
        return self._models if self._clock() < self._until else self.asked(connection)

    def asked(self, connection: Connection) -> list[ServedModel]:
        self._models, self._until = served_models(connection), self._clock() + REMEMBERED
        return self._models

    def forget(self) -> None:
        """Somebody of this very process came or left."""
        self._until = -math.inf


def served_models(connection: Connection) -> list[ServedModel]:
    """Those with live workers first, then the newest registration.

    Not by who was seen last: while two revisions are live, that changes with every renewal,
    and with it the keys derived from the revision.
    """
    alive = func.coalesce(func.bool_or(is_alive()), false())
    rows = connection.execute(
        select(model)
        .outerjoin(worker, _ITS_MODEL)
        .group_by(model.c.name, model.c.profile_group, model.c.revision)
        .order_by(alive.desc(), model.c.registered_at.desc())
    ).mappings()
    return [_model_of(row, name=row["name"]) for row in rows]


def live_workers(connection: Connection) -> list[WorkerInfo]:
    """In the order of their starts."""
    rows = connection.execute(
        select(worker, model.c.profiles)
        .join(model, _ITS_MODEL)
        .where(is_alive())
        .order_by(worker.c.started_at)
    ).mappings()
    return [
        WorkerInfo(
            id=row["id"],
            holder=row["holder"],
            card=row["card"],
            release=row["release"],
            model=_model_of(row, name=row["model"]),
        )
        for row in rows
    ]


def _model_of(row: RowMapping, *, name: str) -> ServedModel:
    return ServedModel(
        name=name,
        revision=row["revision"],
        profile_group=row["profile_group"],
        profiles=tuple(row["profiles"]),
    )
