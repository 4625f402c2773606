"""What producer and worker agree on: nouns, ledger, artifacts, dispatch.

producer ─► ledger (Postgres: the truth) ◄─► worker
    │                                          ▲
    └──────► dispatch (Redis: a hint) ─────────┤
    └──────► artifacts (S3: pictures) ◄────────┘
"""

from __future__ import annotations

import logging

# A program that sets up no log, such as the command line, does not show bare names of events.
logging.getLogger(__name__).addHandler(logging.NullHandler())
