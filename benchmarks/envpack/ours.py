"""Our way: pack, sign, release; unpack, check, activate, first job; then what an update costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.envpack import watch
from benchmarks.envpack.first import first_job
from tests.conda_prefix import PYTHON
from tests.machines import Machines, changed_wheel, document

Figures = dict[str, float]
#: As most updates are: a line of one module.
CHANGE: Final = ("worker/settings.py", b'"Packshot"', b'"Another studio"')
LOADS: Final = "import torch, transformers, diffusers"


@dataclass(frozen=True)
class Layers:
    env: str
    app: str
    model: str


class Ours:
    def __init__(self, site: Machines) -> None:
        self._site = site
        self._into = ("--depot", site.depot, "--key", site.key)

    def pack(self) -> tuple[Figures, str]:
        """Figures, and the digest of the layer."""
        said, took = self._build("pack", self._site.prefix, *self._into)
        figures = {
            "pack_s": took.seconds,
            "pack_cpu_s": took.cpu_s,
            "pack_peak_mb": took.peak_mb,
            "archive_mb": said["archive"]["size"] / 1e6,
            "packed_mb": said["bytes"] / 1e6,
        }
        return figures, str(said["digest"])

    def released(self, env: str) -> tuple[Layers, str]:
        app, _ = self._build("app", *self._into)
        layers = Layers(env, str(app["digest"]), self._model())
        return layers, self._released(layers)

    def first_job(self, layers: Layers, release: str, host: Machines) -> Figures:
        """From the archive to a job that is done, on a host that has nothing yet."""
        unpacked = _bring(host, release)
        job = first_job(host.root / "env" / layers.env / "bin" / PYTHON, application(host))
        whole = unpacked + job
        return {
            "unpack_s": unpacked.seconds,
            "job_s": job.seconds,
            "first_job_s": whole.seconds,
            "first_job_cpu_s": whole.cpu_s,
            "unpack_peak_mb": unpacked.peak_mb,
        }

    def update(self, layers: Layers) -> Figures:
        """One module of the application is another one; its delta is what a host fetches."""
        wheel = changed_wheel(self._site.folder / "build" / "changes", *CHANGE)
        said, packed = self._build("app", "--wheel", wheel, *self._into)
        app = str(said["digest"])
        _, pressed = self._build("delta", app, "--base", layers.app, *self._into)
        release = self._released(Layers(layers.env, app, layers.model))
        unpacked = _bring(self._site, release)
        python = self._site.root / "env" / layers.env / "bin" / PYTHON
        return {
            "app_update_mb": document(unpacked.out)["fetched"] / 1e6,
            "app_whole_mb": said["archive"]["size"] / 1e6,
            "app_pack_s": (packed + pressed).seconds,
            "app_update_s": unpacked.seconds,
            "restart_imports_s": watch.run(python, "-B", "-c", LOADS).seconds,
        }

    def delta(self, env: str, base: str) -> Figures:
        said, took = self._build("delta", env, "--base", base, *self._into)
        return {
            "delta_mb": said["size"] / 1e6,
            "delta_share": said["share"],
            "delta_s": took.seconds,
        }

    def _model(self) -> str:
        """One small file: weights are not what is measured."""
        folder = self._site.folder / "build" / "weights"
        folder.mkdir()
        (folder / "model_index.json").write_text("{}\n", "utf-8")
        return str(self._build("model", "add", folder, *self._into)[0]["digest"])

    def _released(self, layers: Layers) -> str:
        kinds = {"env": layers.env, "app": layers.app, "model": layers.model}
        return str(self._site.release(kinds, "--without", "torchvision")["digest"])

    def _build(self, *words: str | Path) -> tuple[dict[str, Any], watch.Took]:
        took = watch.run(*self._site.to_build(*words))
        return document(took.out), took


def application(host: Machines) -> Path:
    """What a host runs: every way's job is done by it."""
    return (host.root / "current" / "app").resolve()


def _bring(host: Machines, release: str) -> watch.Took:
    """Unpacked, checked and active."""
    return watch.run(*host.on_host(*host.of_unpack(release), "--activate"))
