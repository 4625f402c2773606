"""What is started on a host, as there: ``<root>/current/bin/…``, nothing else."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from jobs.connect import Services
from tests.machines import Machines, as_user
from tests.services import eventually
from worker.engine.tiny.samples import sample_products

Step = Callable[[str], AbstractContextManager[None]]

#: A model is loaded and warmed up first.
START: Final = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Host:
    """``settings``: what an operator gives, ``PACKSHOT_…``; ``services``: the same, seen by us."""

    machines: Machines
    settings: Mapping[str, str]
    services: Services
    step: Step

    @contextmanager
    def worker(self, release: str) -> Iterator[subprocess.Popen[bytes]]:
        """Of what is current, ready, and named ``release`` in the ledger; ended by SIGTERM."""
        log = self.machines.folder / "worker.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [self._program("packshot-worker"), "run"],
                stdout=output,
                stderr=subprocess.STDOUT,
                **self._alone(),
            )

        def serves() -> bool:
            assert process.poll() is None, log.read_text()[-4000:]
            return release in {one.release for one in self.services.ledger.live_workers()}

        try:
            with self.step("start a worker, load the model, to ready"):
                eventually(serves, within=START)
            yield process
            assert process.poll() is None, log.read_text()[-4000:]
        finally:
            _stop(process)

    def edit(self, instruction: str) -> Path:
        """The picture that a client of this host gets for a photograph of ours."""
        photo = self.machines.folder / "mug.png"
        if not photo.exists():
            sample_products(1, seed=3)[0].picture.save(photo)
        out = self.machines.folder / "host" / f"{instruction}.png"
        words = ["submit", str(photo), "-i", instruction, "-o", str(out)]
        ended = subprocess.run(
            [self._program("packshot"), *words],
            check=False,
            capture_output=True,
            text=True,
            **self._alone(),
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return out

    def _program(self, name: str) -> str:
        return str(self.machines.root / "current" / "bin" / name)

    def _alone(self) -> dict[str, Any]:
        how = as_user(self.machines.user)
        home = str(self.machines.folder / "host")
        return how | {"env": {**how["env"], "HOME": home, **self.settings}}


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(timeout=60)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def mapped(process: subprocess.Popen[bytes]) -> set[str]:
    """The files that a process has in its memory."""
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    fields = (line.split(maxsplit=5) for line in lines)
    return {one[5] for one in fields if len(one) == 6 and one[5].startswith("/")}


def state(tree: Path) -> dict[str, tuple[int, int, int]]:
    """Each file and folder with its size, mode and time: what somebody who writes would change."""
    found = {}
    for path in tree.rglob("*"):
        facts = path.lstat()
        found[str(path)] = (facts.st_size, facts.st_mode, facts.st_mtime_ns)
    return found
