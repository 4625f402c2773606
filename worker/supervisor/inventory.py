"""Which cards this host has, and which processors are near them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.errors import BadSettings
from worker.card.pinning import CARD

PCI: Final = Path("/sys/bus/pci/devices")
CPU_CARD: Final = "cpu:0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """As the driver tells it."""

    index: int
    uuid: str
    bus_id: str  #: as sysfs names its folder: 0000:65:00.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One card, and what its process may use of the host."""

    name: str  #: what the worker is told: GPU-<uuid> or cpu:0
    cpus: frozenset[int]  #: to which the process is bound; empty: to none
    threads: int  #: of a library that computes on the processor

    @property
    def visible(self) -> str:
        """For ``CUDA_VISIBLE_DEVICES``."""
        return "" if self.name.startswith("cpu") else self.name


def slots(
    wanted: str, gpus: Sequence[Gpu], *, available: frozenset[int], pci: Path = PCI
) -> list[Slot]:
    """Those that ``--cards`` names: all, or indices, uuids, cpu:0 by comma.

    Raises ``BadSettings`` for a card that this host lacks, or that is named twice.
    """
    names = _names(wanted, gpus)
    near = {gpu.uuid: near_cpus(gpu.bus_id, available, pci) for gpu in gpus}
    cpus = {name: near.get(name, frozenset()) for name in names}
    sharing = Counter(cpus.values())
    return [
        Slot(
            name=name,
            cpus=cpus[name],
            threads=max(1, len(cpus[name] or available) // sharing[cpus[name]]),
        )
        for name in names
    ]


def _names(wanted: str, gpus: Sequence[Gpu]) -> list[str]:
    if wanted == "all":
        return [gpu.uuid for gpu in gpus] or [CPU_CARD]
    names = [_name(one.strip(), gpus) for one in wanted.split(",") if one.strip()]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadSettings(f"--cards: {', '.join(twice)} is named twice")
    if not names:
        raise BadSettings("--cards: all, or indices, GPU-<uuid> or cpu:0 by comma")
    return names


def _name(one: str, gpus: Sequence[Gpu]) -> str:
    """What an index stands for is decided once: it may change with the next driver."""
    if not CARD.fullmatch(one):
        raise BadSettings(f"--cards: all, or indices, GPU-<uuid> or cpu:0 by comma, got {one!r}")
    by_index = {str(gpu.index): gpu.uuid for gpu in gpus}
    if one.isdigit() and one not in by_index:
        raise BadSettings(f"--cards: no card {one}; {_those(gpus)}")
    if one.startswith("GPU-") and gpus and one not in by_index.values():
        raise BadSettings(f"--cards: no card {one}; {_those(gpus)}")
    return by_index.get(one, one)


def _those(gpus: Iterable[Gpu]) -> str:
    known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in gpus)
    return f"this host has {known}" if known else "NVIDIA's driver tells of none on this host"


def near_cpus(bus_id: str, available: frozenset[int], pci: Path = PCI) -> frozenset[int]:
    """Processors of the card's NUMA node that we may use; empty if that is not known."""
    try:
        listed = (pci / bus_id / "local_cpulist").read_text(encoding="ascii")
    except OSError:
        return frozenset()
    return cpu_list(listed) & available


def pci_folder(bus_id: str) -> str:
    """``00000000:65:00.0``, as the driver writes it, is ``0000:65:00.0`` in sysfs."""
    return bus_id.lower()[-12:]


def cpu_list(text: str) -> frozenset[int]:
    """As the kernel writes it: ``0-31,64-95``."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
