"""Which card a process sees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jobs.errors import BadSettings
from worker.card.pinning import pin


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No torch yet, and an environment that is put back."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "before")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "before")


@pytest.mark.parametrize(
    ("card", "visible"),
    [
        ("cpu:0", ""),
        ("cpu:3", ""),
        ("0", "0"),
        ("11", "11"),
        (card := "GPU-8f2b1c1e-0000-1111-2222-333344445555", card),
        (slice_ := "MIG-8f2b1c1e-0000-1111-2222-333344445555", slice_),
    ],
)
def test_a_process_sees_its_card_alone(card: str, visible: str) -> None:
    pin(card)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible  # noqa: TID251 - what CUDA reads
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # noqa: TID251 - the same


@pytest.mark.parametrize("card", ["", "cpu", "gpu0", "-1", "0,1", "cuda:0", "GPU-", "0\n"])
def test_what_names_no_card_is_refused(card: str) -> None:
    with pytest.raises(BadSettings, match="PACKSHOT_CARD"):
        pin(card)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "before"  # noqa: TID251 - what CUDA reads


def test_after_torch_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)

    with pytest.raises(BadSettings, match="before torch is imported"):
        pin("0")


def test_nothing_imports_torch_before_the_card_is_chosen() -> None:
    code = "import sys, worker.cli, worker.bootstrap, worker.process; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert said.stdout.strip() == "False"
