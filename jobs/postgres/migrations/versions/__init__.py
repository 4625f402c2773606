"""Alembic revisions of the ledger: numbered, never edited once released."""

from __future__ import annotations
