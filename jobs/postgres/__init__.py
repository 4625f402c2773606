"""The ledger in PostgreSQL 15 and newer, through SQLAlchemy Core."""

from __future__ import annotations
