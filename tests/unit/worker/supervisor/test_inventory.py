"""Which cards there are, and which processors are near them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.errors import BadSettings
from worker.supervisor import nvml, smi
from worker.supervisor.inventory import Gpu, cpu_list, near_cpus, slots

EIGHT = frozenset(range(8))
NOWHERE = Path("/nonexistent")
GPUS = [
    Gpu(index=0, uuid="GPU-aaaa", bus_id="0000:17:00.0"),
    Gpu(index=1, uuid="GPU-bbbb", bus_id="0000:65:00.0"),
]


def names(wanted: str, gpus: list[Gpu]) -> list[str]:
    return [slot.name for slot in slots(wanted, gpus, available=EIGHT, pci=NOWHERE)]


@pytest.fixture
def pci(tmp_path: Path) -> Path:
    """Each card on a node of its own, as sysfs tells it."""
    for gpu, cpus in zip(GPUS, ("0-3\n", "4,6-7\n"), strict=True):
        (tmp_path / gpu.bus_id).mkdir()
        (tmp_path / gpu.bus_id / "local_cpulist").write_text(cpus)
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("all", ["GPU-aaaa", "GPU-bbbb"]),
        ("1", ["GPU-bbbb"]),
        ("1, GPU-aaaa", ["GPU-bbbb", "GPU-aaaa"]),
        ("cpu:0,cpu:1", ["cpu:0", "cpu:1"]),
    ],
)
def test_cards_are_named_by_index_or_uuid_or_all_at_once(wanted: str, found: list[str]) -> None:
    assert names(wanted, GPUS) == found


def test_without_a_driver_the_processor_is_the_one_card() -> None:
    assert names("all", []) == ["cpu:0"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("2", r"no card 2; this host has 0 \(GPU-aaaa\), 1 \(GPU-bbbb\)"),
        ("GPU-cccc", "no card GPU-cccc"),
        ("0,GPU-aaaa", "GPU-aaaa is named twice"),
        ("first", "got 'first'"),
        (" , ", "by comma"),
    ],
)
def test_a_card_that_is_not_there_is_refused_by_name(wanted: str, told: str) -> None:
    with pytest.raises(BadSettings, match=told):
        names(wanted, GPUS)


def test_an_index_without_a_driver_is_refused() -> None:
    with pytest.raises(BadSettings, match="NVIDIA's driver tells of none"):
        names("0", [])


def test_a_process_is_bound_to_the_processors_near_its_card(pci: Path) -> None:
    first, second = slots("all", GPUS, available=EIGHT, pci=pci)

    assert (sorted(first.cpus), first.threads) == ([0, 1, 2, 3], 4)
    assert (sorted(second.cpus), second.threads) == ([4, 6, 7], 3)


def test_only_processors_that_we_may_use_ourselves_count(pci: Path) -> None:
    assert near_cpus("0000:17:00.0", frozenset({2, 5}), pci) == {2}


def test_cards_of_one_node_share_its_threads(pci: Path) -> None:
    (pci / GPUS[1].bus_id / "local_cpulist").write_text("0-3\n")

    assert [slot.threads for slot in slots("all", GPUS, available=EIGHT, pci=pci)] == [2, 2]


def test_without_a_node_the_cards_share_all_processors_and_are_bound_to_none() -> None:
    first, second = slots("all", GPUS, available=EIGHT, pci=NOWHERE)

    assert (first.cpus, first.threads, second.threads) == (frozenset(), 4, 4)


def test_a_card_sees_itself_alone_and_a_processor_sees_none() -> None:
    gpu, cpu = slots("0,cpu:0", GPUS, available=EIGHT, pci=NOWHERE)

    assert (gpu.visible, cpu.visible) == ("GPU-aaaa", "")


def test_a_list_of_processors_is_read_as_the_kernel_writes_it() -> None:
    assert cpu_list("0-2,8\n") == {0, 1, 2, 8}
    assert cpu_list("\n") == frozenset()


class Driver:
    """The functions of nvidia-ml-py that we call, with one card."""

    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - NVIDIA's names

    class NVMLError(Exception):
        pass

    class NVMLError_Timeout(NVMLError):  # noqa: N801 - same
        pass

    def __init__(self, *errors: int, count: int = 1) -> None:
        self.errors, self.count = list(errors), count

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any function
        answers: dict[str, Any] = {
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetUUID": b"GPU-aaaa",
            "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:3B:00.0"),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=7),
        }
        return lambda *_: answers.get(name)

    def nvmlEventSetWait_v2(self, *_: object) -> object:  # noqa: N802 - same
        if not self.errors:
            raise self.NVMLError("the card is gone")
        if not self.errors[0]:
            self.errors.pop(0)
            raise self.NVMLError_Timeout
        return SimpleNamespace(device=0, eventData=self.errors.pop(0))


def test_the_driver_tells_cards_as_sysfs_and_cuda_name_them() -> None:
    (gpu,) = nvml.Nvml(Driver()).gpus()

    assert gpu == Gpu(index=0, uuid="GPU-aaaa", bus_id="0000:3b:00.0")
    assert nvml.Nvml(Driver()).memory_used("GPU-aaaa") == 7


def test_the_drivers_tool_tells_the_same() -> None:
    answer = "0, GPU-aaaa, 00000000:3B:00.0\n1, GPU-bbbb, 00000001:65:00.0\n"

    assert [(gpu.index, gpu.uuid, gpu.bus_id) for gpu in smi.read(answer)] == [
        (0, "GPU-aaaa", "0000:3b:00.0"),
        (1, "GPU-bbbb", "0001:65:00.0"),
    ]


def test_errors_of_the_hardware_are_told_from_those_of_a_program() -> None:
    told: list[nvml.Xid] = []
    driver = nvml.Nvml(Driver(13, 0, 79))

    listener = driver.watch(["GPU-aaaa"], told.append)
    assert listener is not None
    listener.join(timeout=10)

    assert [(one.card, one.number, one.is_fatal) for one in told] == [
        ("GPU-aaaa", 13, False),
        ("GPU-aaaa", 79, True),
    ]
    assert told[1].meaning == "XID 79: the card has fallen off the bus"


def test_this_machine_is_asked_without_an_error_whether_it_has_a_card() -> None:
    driver = nvml.found()

    assert driver is None or driver.gpus()
