"""What people do today: conda-pack as it comes, and pip from the lock on the host itself."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.envpack import watch
from benchmarks.envpack.environment import Wheels
from benchmarks.envpack.first import first_job
from tests.machines import Machines

Figures = dict[str, float]


class CondaPack:
    """``conda-pack -o env.tar.gz``; tar; conda-unpack; the job."""

    def __init__(self, site: Machines) -> None:
        self._site, self._archive = site, site.folder / "env.tar.gz"

    def pack(self) -> Figures:
        tool = Path(sys.executable).with_name("conda-pack")
        into = ("--prefix", self._site.prefix, "--output", self._archive)
        packed = watch.run(tool, "--quiet", *into)
        return {
            "conda_pack_pack_s": packed.seconds,
            "conda_pack_pack_cpu_s": packed.cpu_s,
            "conda_pack_pack_peak_mb": packed.peak_mb,
            "conda_pack_archive_mb": watch.megabytes(self._archive),
        }

    def first_job(self, host: Machines, application: Path) -> Figures:
        tree = host.root.with_name(f"{host.name}-conda-pack")
        tree.mkdir()
        python = tree / "bin" / "python"
        untarred = watch.run("tar", "-xzf", self._archive, "-C", tree)
        unpacked = watch.run(python, tree / "bin" / "conda-unpack")
        job = first_job(python, application)
        whole = untarred + unpacked + job
        return {
            "conda_pack_untar_s": untarred.seconds,
            "conda_pack_unpack_s": unpacked.seconds,
            "conda_pack_job_s": job.seconds,
            "conda_pack_first_job_s": whole.seconds,
            "conda_pack_first_job_cpu_s": whole.cpu_s,
        }


def pip_install(site: Machines, wheels: Wheels, application: Path) -> Figures:
    """A virtual environment of the host's; its wheels lie on its disk already."""
    venv = site.folder / "venv"
    made = watch.run(sys.executable, "-m", "venv", "--without-pip", venv)
    installed = wheels.install(venv / "bin" / "python", wheels.lock)
    job = first_job(venv / "bin" / "python", application)
    return {
        "pip_install_s": (made + installed).seconds,
        "pip_install_cpu_s": (made + installed).cpu_s,
        "pip_wheels_mb": watch.megabytes(wheels.folder),
        "pip_first_job_s": (made + installed + job).seconds,
    }
