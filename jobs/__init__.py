"""What producer and worker agree on: nouns, ledger, artifacts, dispatch.

producer ─► ledger (Postgres: the truth) ◄─► worker
    │                                          ▲
    └──────► dispatch (Redis: a hint) ─────────┤
    └──────► artifacts (S3: pictures) ◄────────┘
"""

from __future__ import annotations
