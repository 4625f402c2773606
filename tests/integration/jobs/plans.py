"""What PostgreSQL does for a call: its plans, and how many rows of the table of jobs it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from jobs.postgres.connection import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """One node of a plan that reads the table of jobs."""

    node: str
    index: str | None
    rows: int  #: read, those that a filter then dropped included


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    statement: str
    scans: tuple[Scan, ...]
    whole: dict[str, Any]

    @property
    def rows(self) -> int:
        return sum(scan.rows for scan in self.scans)


def plans_of(database: Database, call: Callable[[], object]) -> list[Plan]:
    """Of each statement of the call, explained as it runs; what it changes is kept."""
    explained: list[Plan] = []

    def explain(
        _connection: object,
        cursor: Any,  # noqa: ANN401 - the driver's
        statement: str,
        parameters: Any,  # noqa: ANN401
        _context: object,
        executemany: bool,  # noqa: FBT001
    ) -> None:
        if executemany or not statement.lstrip().startswith(("SELECT", "UPDATE", "WITH", "DELETE")):
            return
        # ANALYZE carries it out, so that is undone before it is carried out in earnest.
        with cursor.connection.transaction(force_rollback=True), cursor.connection.cursor() as own:
            own.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
            (found,) = own.fetchone()
        plan = found[0]["Plan"]
        explained.append(Plan(statement=statement, scans=tuple(_scans(plan)), whole=plan))

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        call()
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)
    return explained


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if node.get("Relation Name") == "job" and node["Node Type"] != "ModifyTable":
        dropped = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
        rows = (node["Actual Rows"] + dropped) * node["Actual Loops"]
        yield Scan(node=node["Node Type"], index=node.get("Index Name"), rows=round(rows))
    elif node["Node Type"] == "Bitmap Index Scan":
        rows = node["Actual Rows"] * node["Actual Loops"]
        yield Scan(node=node["Node Type"], index=node.get("Index Name"), rows=round(rows))
    for child in node.get("Plans", ()):
        yield from _scans(child)
