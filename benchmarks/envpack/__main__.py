"""python -m benchmarks.envpack: build once, bring it to a host three ways, update it."""

from __future__ import annotations

import argparse
from typing import Final

from benchmarks import results
from benchmarks.envpack import environment, others, watch
from benchmarks.envpack.ours import Figures, Ours
from tests.machines import Machines, machines

#: What is asked for: figure, what it is, and how much of the other side's it may be.
RATIOS: Final = (
    ("pack_s", "conda_pack_pack_s", 0.5),
    ("archive_mb", "conda_pack_archive_mb", 0.85),
    ("first_job_s", "conda_pack_first_job_s", 0.5),
)
LIMITS: Final = {"app_update_mb": 1, "app_update_s": 5, "delta_share": 0.1, "pack_peak_mb": 300}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.envpack")
    parser.add_argument("--index", help=f"one more index, that has {environment.TORCH}")
    chosen = parser.parse_args()
    with machines(another_user=False) as site:
        figures = {key: round(one, 4) for key, one in measured(site, chosen.index).items()}
    path = results.write("envpack", figures)
    results.show("environment to first job", ["", "measured"], [list(p) for p in figures.items()])
    for line in judged(figures):
        print(line)
    print(path)


def measured(site: Machines, index: str | None) -> Figures:
    wheels = environment.wheels(site, index)
    site.conda_prefix(site.prefix)
    wheels.install(site.prefix / "bin" / "python", wheels.lock)
    wheels.install(site.prefix / "bin" / "python", wheels.older)
    ours = Ours(site)
    _, base = ours.pack()  # the environment before: two packages were older
    wheels.install(site.prefix / "bin" / "python", wheels.lock)
    figures, env = ours.pack()
    figures["prefix_mb"] = watch.megabytes(site.prefix)
    came, layers = ours.first_job(env)
    figures |= came
    application = ours.application
    figures |= others.conda_pack(site, application)
    figures |= others.pip_install(site, wheels, application)
    figures |= ours.update(layers)
    return figures | ours.delta(env, base)


def judged(figures: Figures) -> list[str]:
    """A line for each target: kept or missed, and by what."""
    lines = []
    for ours, theirs, share in RATIOS:
        found = figures[ours] / figures[theirs]
        lines.append(_line(f"{ours} / {theirs}", found, share))
    return lines + [_line(name, figures[name], limit) for name, limit in LIMITS.items()]


def _line(name: str, found: float, limit: float) -> str:
    return f"{'kept  ' if found <= limit else 'MISSED'}  {name}: {found:.3g}, at most {limit}"


if __name__ == "__main__":
    main()
