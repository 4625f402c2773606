"""Who offers what: the models ever registered, and the workers that live."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, and_, false, func, select

from jobs.model import ServedModel, WorkerInfo
from jobs.postgres.tables import is_alive, model, worker

#: A worker's own registration.
_ITS_MODEL = and_(
    worker.c.model == model.c.name,
    worker.c.profile_group == model.c.profile_group,
    worker.c.revision == model.c.revision,
)


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
