"""What a layer says that a host must have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.inventory import RECORD
from envpack.pack.layers import Packed, pack_environment
from tests.conda_prefix import (
    PYTHON,
    pip_install,
    write_wheel,
)


def test_facts_tell_what_a_host_must_have(packed: Packed) -> None:
    facts = packed.manifest.facts

    assert facts["platform"] == "linux-64"
    assert facts["python"].startswith(PYTHON.removeprefix("python"))
    assert tuple(map(int, facts["glibc"].split("."))) >= (2, 2)
    assert facts["cuda"] == facts["minimum_driver"] == ""
    assert {"kind": "pypi", "name": "demo-tool", "version": "1.0"} in facts["packages"]


@pytest.fixture
def torch(prefix: Path, tmp_path: Path) -> Path:
    """A prefix with a torch of four lines, for CUDA 12.8: what is read of it are its version and
    its architectures.
    """
    wheels = tmp_path / "wheels"
    version = b"from typing import Optional\ncuda: Optional[str] = '12.8'\n"
    body = b"class _C:\n    _cuda_getArchFlags = staticmethod(lambda: 'sm_80 sm_90')\n"
    files = {"torch/__init__.py": body, "torch/version.py": version}
    write_wheel(wheels, "torch", "2.99", files)
    pip_install(prefix, "--find-links", str(wheels), "torch")
    return prefix


def built_from(prefix: Path, **spec: str | None) -> None:
    """As ``build`` notes it."""
    record = prefix / RECORD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"spec": {"name": "demo", "variant": "v", **spec}}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"cuda": None}, "variant v: asks for the CPU, and torch is built for CUDA 12.8"),
        ({"cuda": "13.0"}, "asks for CUDA 13.0, and torch is built for CUDA 12.8"),
        ({"cuda": "12.8", "minimum_driver": "470.1"}, "470.1 does not start CUDA 12.8"),
    ],
)
def test_another_torch_than_the_spec_says_is_not_packed(
    torch: Path, tmp_path: Path, spec: dict[str, str | None], said: str
) -> None:
    built_from(torch, **spec)

    with pytest.raises(NotPackable, match=said):
        pack_environment(torch, DepotFolder(tmp_path / "depot"))


def test_a_spec_may_ask_for_a_newer_driver_than_the_toolkit(torch: Path, tmp_path: Path) -> None:
    built_from(torch, cuda="12.8", minimum_driver="550.54.14")

    packed = pack_environment(torch, DepotFolder(tmp_path / "depot"))

    assert packed.manifest.facts["minimum_driver"] == "550.54.14"


def test_a_build_of_torch_for_cuda_names_its_driver(torch: Path, tmp_path: Path) -> None:
    facts = pack_environment(torch, DepotFolder(tmp_path / "depot")).manifest.facts

    assert facts["cuda"] == "12.8"
    assert facts["minimum_driver"] == "525.60.13"
    assert facts["recommended_driver"] == "570.26"
    assert facts["architectures"] == ["sm_80", "sm_90"]
    assert facts["imports"] == ["torch"]
