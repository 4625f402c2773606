"""The environment of the run: conda's Python, the worker's part of the lock, torch for the CPU.

torchvision stays out: its wheels want another torch.  All wheels are downloaded before anything is
measured, so that no side waits for a network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Final

from benchmarks.envpack import watch
from tests.locked import worker_lines
from tests.machines import Machines

TORCH: Final = "torch==2.13.0+cpu"
#: Of the lock's torch: what its CUDA build needs, and what would want that very torch.
OF_CUDA: Final = (
    *("torchvision", "triton", "cuda-bindings", "cuda-toolkit"),
    *("nvidia-cudnn-cu13", "nvidia-cusparselt-cu13", "nvidia-nccl-cu13", "nvidia-nvshmem-cu13"),
)
#: What the environment before held in place of the lock's.
OLDER: Final = ("celery==5.6.3", "diffusers==0.42.0")


@dataclass(frozen=True)
class Wheels:
    """A folder that has them all, and the requirements with their sha256."""

    folder: Path
    lock: Path
    older: Path  #: the two that were older

    def install(self, python: Path, requirements: Path) -> watch.Took:
        options = ("--no-index", "--find-links", self.folder, "--require-hashes", "--no-deps")
        return pip(python, "install", *options, "-r", requirements)


def wheels(site: Machines, index: str | None) -> Wheels:
    """``index``: one more, that has torch's builds for the CPU."""
    folder = site.folder / "wheels"
    made = Wheels(folder, folder / "lock.txt", folder / "older.txt")
    folder.mkdir()
    extra = ("--extra-index-url", index) if index else ()
    lock = [one for one in worker_lines(without=OF_CUDA) if not one.startswith("torch==")]
    made.lock.write_text("\n".join(lock) + "\n", "utf-8")
    _download(folder, "--require-hashes", "-r", made.lock)
    made.older.write_text(_locked(site.folder / "older", OLDER), "utf-8")
    torch = _locked(site.folder / "torch", [TORCH], *extra)
    made.lock.write_text("\n".join([*lock, torch]), "utf-8")
    for other in (site.folder / "older", site.folder / "torch"):
        for wheel in other.iterdir():
            wheel.rename(folder / wheel.name)
    return made


def _locked(folder: Path, requirements: Sequence[str], *options: str) -> str:
    """Downloaded into ``folder``; requirements that name their sha256."""
    _download(folder, *options, *requirements)
    digests = {wheel.name.partition("-")[0]: _sha256(wheel) for wheel in folder.iterdir()}
    lines = [f"{one} --hash=sha256:{digests[one.partition('==')[0]]}" for one in requirements]
    return "\n".join(lines) + "\n"


def _download(folder: Path, *words: str | Path) -> None:
    pip(
        Path(sys.executable),
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-d",
        folder,
        *words,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def pip(python: Path, *words: str | Path) -> watch.Took:
    own = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    return watch.run(*own, *words[:1], "--quiet", *words[1:])
