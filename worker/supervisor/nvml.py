"""The driver's own library: which cards there are, their memory, and their errors."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.supervisor.inventory import Gpu, pci_folder

log = logging.getLogger(__name__)

#: Errors after which the hardware, not a program on it, is to be looked at.
#: Source: NVIDIA, "XID Errors", docs.nvidia.com/deploy/xid-errors
FATAL_XIDS: Final = {
    46: "the card stopped processing",
    48: "an uncorrectable memory error",
    61: "a breakpoint of the card's own processor",
    62: "a halt of the card's own processor",
    64: "a memory row could not be remapped",
    74: "an NVLink error",
    79: "the card has fallen off the bus",
    95: "an uncontained memory error",
    119: "the card's system processor does not answer",
    120: "the card's system processor failed",
    140: "an unrecovered memory error",
}
WAIT: Final = 1_000  # milliseconds that one look for errors takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Xid:
    """An error that the driver tells of."""

    card: str
    number: int

    @property
    def is_fatal(self) -> bool:
        return self.number in FATAL_XIDS

    @property
    def meaning(self) -> str:
        what = FATAL_XIDS.get(self.number, "an error of a program on it")
        return f"XID {self.number}: {what}"


class Nvml:
    """Of ``nvidia-ml-py``, whose functions are named as NVIDIA names them."""

    def __init__(self, library: Any) -> None:  # noqa: ANN401 - it has no types
        self._library = library

    def gpus(self) -> Sequence[Gpu]:
        library = self._library
        handles = [
            library.nvmlDeviceGetHandleByIndex(index)
            for index in range(library.nvmlDeviceGetCount())
        ]
        return [
            Gpu(
                index=index,
                uuid=_text(library.nvmlDeviceGetUUID(handle)),
                bus_id=pci_folder(_text(library.nvmlDeviceGetPciInfo(handle).busId)),
            )
            for index, handle in enumerate(handles)
        ]

    def memory_used(self, uuid: str) -> float | None:
        """Bytes, of all processes on the card; ``None`` if the driver does not tell."""
        try:
            handle = self._library.nvmlDeviceGetHandleByUUID(uuid)
            return float(self._library.nvmlDeviceGetMemoryInfo(handle).used)
        except self._library.NVMLError:
            return None

    def watch(self, cards: Sequence[str], report: Callable[[Xid], None]) -> threading.Thread | None:
        """Report the errors of these cards, from a thread of its own, for as long as we live."""
        library = self._library
        kind = library.nvmlEventTypeXidCriticalError
        try:
            events = library.nvmlEventSetCreate()
            for card in cards:
                handle = library.nvmlDeviceGetHandleByUUID(card)
                library.nvmlDeviceRegisterEvents(handle, kind, events)
        except library.NVMLError as error:  # a driver in a virtual machine may have no events
            log.warning("xid_errors_unseen", extra={"reason": str(error)})
            return None
        thread = threading.Thread(target=self._listen, args=(events, report), daemon=True)
        thread.start()
        return thread

    def _listen(self, events: object, report: Callable[[Xid], None]) -> None:
        library = self._library
        while True:
            try:
                event = library.nvmlEventSetWait_v2(events, WAIT)
                card = _text(library.nvmlDeviceGetUUID(event.device))
            except library.NVMLError_Timeout:
                continue
            except library.NVMLError as error:
                log.warning("xid_errors_unseen", extra={"reason": str(error)})
                return
            report(Xid(card=card, number=int(event.eventData)))


def found() -> Nvml | None:
    """``None`` without the library, without a driver, or without a card."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
        return Nvml(library) if library.nvmlDeviceGetCount() else None
    except library.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
