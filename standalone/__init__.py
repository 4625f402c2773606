"""The whole system on one machine with nothing installed: ``packshot up`` and ``packshot demo``."""

from __future__ import annotations
