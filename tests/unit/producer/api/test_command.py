from __future__ import annotations

import subprocess
import sys

HEAVY = ("fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "celery", "minio")
STUCK = """
import threading
from producer.api.command import leave

threading.Thread(target=threading.Event().wait).start()
leave()
"""
QUIET = """
import logging
from jobs.testing import MemoryArtifacts, MemoryLedger, RecordingDispatcher
from producer.api.command import _server
from producer.client import Client

dispatcher = RecordingDispatcher()
_server(Client(ledger=MemoryLedger(), artifacts=MemoryArtifacts(), dispatcher=dispatcher))
for name in ("uvicorn.error", "python_multipart.multipart", "jobs.ledger"):
    print(name, logging.getLogger(name).isEnabledFor(logging.WARNING))
"""


def python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20
    ).stdout


def test_the_command_is_cheap_to_import() -> None:
    probe = f"import producer.api.command, sys; print(*(m for m in {HEAVY} if m in sys.modules))"

    assert python(probe).split() == []


def test_a_request_that_hangs_does_not_keep_the_process() -> None:
    assert python(STUCK) == ""


def test_a_malformed_form_writes_no_line_of_a_library_into_our_log() -> None:
    told = "uvicorn.error False\npython_multipart.multipart False\njobs.ledger True\n"

    assert python(QUIET) == told
