"""Log lines: an event in snake case, past tense, and facts beside it."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import IO, Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(
    *,
    as_json: bool,
    level: int = logging.INFO,
    stream: IO[str] | None = None,
    always: Mapping[str, object] | None = None,
) -> None:
    """Send every log line of this process to ``stream`` (standard output by default).

    ``always``: facts of each line that does not tell them itself.
    """
    stream = stream or sys.stdout
    if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what no encoding has
        stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if as_json else Console())
    handler.addFilter(partial(_added, always or {}))
    # Odd tags in a stranger's picture are no news; in a library this cannot be silenced safely.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries that tell every connection at INFO.
    for name in ("alembic", "amqp", "celery", "kombu", "urllib3", "httpx"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


#: Facts of each line of this thread, whoever writes it, such as whose attempt it is at.
_ABOUT: Final[ContextVar[Mapping[str, object]]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(facts: Mapping[str, object]) -> Iterator[None]:
    """Lines that this thread writes in the block tell these facts too."""
    before = _ABOUT.set({**_ABOUT.get(), **facts})
    try:
        yield
    finally:
        _ABOUT.reset(before)


def _added(always: Mapping[str, object], record: logging.LogRecord) -> bool:
    for name, value in {**_ABOUT.get(), **always}.items():
        vars(record).setdefault(name, value)
    return True


def facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        head = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line = {**head, **facts(record), **head}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Console(logging.Formatter):
    """One line, for people."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        words = " ".join(f"{name}={_short(value)}" for name, value in facts(record).items())
        line = f"{at} {record.levelname.lower():7} {record.getMessage():24} {words}"
        # A library's message may be of several lines: what follows would look like a line's own.
        line = " ".join(part.strip() for part in line.splitlines() if part.strip())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
