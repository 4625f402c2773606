"""python -m benchmarks.envpack: build once, bring it to a host three ways, update it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from threading import Event
from typing import Final

from benchmarks import results
from benchmarks.envpack import environment, others, watch
from benchmarks.envpack.ours import Figures, Ours, application
from tests.machines import Machines, machines

#: What is asked for: figure, what it is, and how much of the other side's it may be.
RATIOS: Final = (
    ("pack_s", "conda_pack_pack_s", 0.5),
    ("archive_mb", "conda_pack_archive_mb", 0.85),
)
LIMITS: Final = {
    "first_job_share": 0.5,
    "app_update_mb": 1,
    "app_update_s": 5,
    "delta_share": 0.1,
    "pack_peak_mb": 300,
}
ROUNDS: Final = 5
SETTLE: Final = 365.0  # seconds
MEMORY: Final = 4_000_000_000  # bytes; an unpacked environment fills a third of it


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
    theirs = others.CondaPack(site)
    figures |= theirs.pack()
    layers, release = ours.released(env)
    settle()
    came = []
    for host in (site, *(replace(site, name=f"root-{number}") for number in range(1, ROUNDS))):
        rest()
        own = ours.first_job(layers, release, host)
        rest()
        came.append(own | theirs.first_job(host, application(host)))
    figures |= middle(came) | shares(came)
    figures |= others.pip_install(site, wheels, application(site))
    figures |= ours.update(layers)
    return figures | ours.delta(env, base)


def settle() -> None:
    """ext4 without a journal steps past every inode that was freed a minute ago, or six where
    others of its block have changed since, one by one (``recently_deleted`` in fs/ext4/ialloc.c):
    what packing and pip removed would cost whoever unpacks ten seconds and more.
    """
    watch.run("sync")
    Event().wait(SETTLE)


def rest() -> None:
    """Each side begins alike: no write of the other's waits for the disk (ours waits until it has
    all, theirs does not), and there is memory that was in use just now.  A virtual machine gives
    free memory back to its host, and then the first use of each page costs more than an unpack.
    """
    watch.run("sync")
    bytearray(b"1") * MEMORY  # written to, and free again


def middle(rounds: Sequence[Figures]) -> Figures:
    return {key: median(one[key] for one in rounds) for key in rounds[0]}


def shares(rounds: Sequence[Figures]) -> Figures:
    """Of each round, ours in theirs: the two stood beside each other, under the same load."""
    found = [one["first_job_s"] / one["conda_pack_first_job_s"] for one in rounds]
    cpu = [one["first_job_cpu_s"] / one["conda_pack_first_job_cpu_s"] for one in rounds]
    return {
        "rounds": len(rounds),
        "first_job_share": median(found),
        "first_job_share_least": min(found),
        "first_job_share_most": max(found),
        "first_job_cpu_share": median(cpu),
    }


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
