"""``packshot-worker sweep``: what is kept no longer, counted or removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from jobs.connect import connect
from jobs.postgres.retention import PostgresRetention
from jobs.settings import SweepSettings
from jobs.sweep import Policy, Sweep, Swept


def sweep(*, delete: bool, most: int) -> list[Swept]:
    """Raises ``BadSettings``, ``SchemaMismatch``, ``Unavailable``."""
    settings = SweepSettings.load()
    services = connect(settings)
    try:
        services.check()
        sweeper = Sweep(
            ledger=services.ledger,
            retention=PostgresRetention(services.database),
            artifacts=services.artifacts,
            policy=Policy(
                keep_jobs=settings.keep_jobs,
                keep_inputs=settings.keep_inputs,
                orphan_age=settings.orphan_age,
                most=most,
            ),
        )
        return sweeper.act() if delete else sweeper.look()
    finally:
        services.close()


def show(found: Sequence[Swept], *, deleted: bool, as_json: bool) -> str:
    if as_json:
        return json.dumps({"deleted": deleted, "kinds": [asdict(one) for one in found]})
    width = max(len(one.kind) for one in found)
    lines = [_line(one, width) for one in found]
    hint = "removed" if deleted else "nothing was changed; --delete removes these"
    return "\n".join([*lines, hint])


def _line(one: Swept, width: int) -> str:
    size = "" if one.bytes is None else f"{one.bytes:>18,} bytes"
    more = "  and perhaps more: run it again" if one.partial else ""
    return f"{one.kind:<{width}}  {one.count:>9,}{size}{more}"
