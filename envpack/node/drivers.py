"""Which NVIDIA driver a CUDA toolkit needs, by whole dotted versions.

Below the *floor* of its CUDA major, code does not start.  Between the floor and the *toolkit's
own* driver it starts, but PTX is not compiled and new features are missing.  Newer drivers run
older toolkits.  Source: docs.nvidia.com, "CUDA Toolkit Release Notes" (13.3), tables 2 and 3, Linux
x86_64; "CUDA Compatibility", minor version compatibility.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from envpack.node.errors import InvalidManifest

TOO_OLD = "too old"
LIMITED = "limited"
SUITABLE = "suitable"

#: CUDA major → the oldest driver that starts anything built for it.
FLOORS: dict[int, str] = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}

#: CUDA version (an update's number is its third) → the driver that came with it.
TOOLKIT_DRIVERS: dict[str, str] = {
    "11.7": "515.43.04",
    "11.7.1": "515.48.07",
    "11.8": "520.61.05",
    "12.0": "525.60.13",
    "12.0.1": "525.85.12",
    "12.1": "530.30.02",
    "12.2": "535.54.03",
    "12.2.1": "535.86.09",
    "12.2.2": "535.104.05",
    "12.3": "545.23.06",
    "12.3.1": "545.23.08",
    "12.4": "550.54.14",
    "12.4.1": "550.54.15",
    "12.5": "555.42.02",
    "12.5.1": "555.42.06",
    "12.6": "560.28.03",
    "12.6.1": "560.35.03",
    "12.6.2": "560.35.03",
    "12.6.3": "560.35.05",
    "12.8": "570.26",
    "12.8.1": "570.124.06",
    "12.9": "575.51.03",
    "12.9.1": "575.57.08",
    "13.0": "580.65.06",
    "13.0.1": "580.82.07",
    "13.0.2": "580.95.05",
    "13.1": "590.44.01",
    "13.1.1": "590.48.01",
    "13.2": "595.45.04",
    "13.2.1": "595.58.03",
    "13.2.2": "595.71.05",
    "13.3": "610.43.02",
}

#: What CUDA's own numbers mean on a host, and what helps.
ERRORS = {
    803: "the driver's library and its kernel module differ: reboot after the driver's upgrade",
    804: "cuda-compat is in use on a card that it does not serve: upgrade the driver instead",
    222: "the driver is too old to compile this build's PTX: upgrade it to the toolkit's own",
}
#: The same where only their words are printed.
_SAID = {"unsupported display driver": 803, "forward compat": 804, "PTX": 222}


@dataclass(frozen=True)
class Drivers:
    """What one CUDA version asks of the driver."""

    cuda: str
    minimum: str
    recommended: str


def numbers(version: str) -> tuple[int, ...]:
    """``525.60.13`` → ``(525, 60, 13)``, to compare.  Raises ``InvalidManifest``."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", version, re.ASCII):
        raise InvalidManifest(f"version: numbers with dots between, got {version[:40]!r}")
    return tuple(int(part) for part in version.split("."))


def drivers_for(cuda: str) -> Drivers:
    """For ``torch.version.cuda``, as ``12.8``.

    A minor version that the table does not hold is given the newest driver before it in its
    major.  Raises ``InvalidManifest`` for a major that the table does not know.
    """
    wanted = numbers(cuda)
    if wanted[0] not in FLOORS:
        majors = ", ".join(map(str, FLOORS))
        raise InvalidManifest(f"CUDA {cuda}: its drivers are not known (known majors: {majors})")
    floor = FLOORS[wanted[0]]
    before = [
        driver
        for toolkit, driver in TOOLKIT_DRIVERS.items()
        if numbers(toolkit)[0] == wanted[0] and numbers(toolkit) <= wanted
    ]
    return Drivers(cuda, floor, max([floor, *before], key=numbers))


def judged(driver: str, minimum: str, recommended: str) -> str:
    """``TOO_OLD``, ``LIMITED`` or ``SUITABLE``.  A driver is never too new."""
    if numbers(driver) < numbers(minimum):
        return TOO_OLD
    return LIMITED if numbers(driver) < numbers(recommended) else SUITABLE


def verdict(driver: str, cuda: str, minimum: str = "", recommended: str = "") -> tuple[str, str]:
    """``ok``, ``warning`` or ``failed``, and why.  What a manifest says comes before the table."""
    try:
        if not (minimum and recommended):
            known = drivers_for(cuda)
            minimum, recommended = minimum or known.minimum, recommended or known.recommended
        found = judged(driver, minimum, recommended)
    except InvalidManifest as fault:
        return "failed", f"driver {driver!r}: {fault}"
    if found == TOO_OLD:
        return "failed", f"driver {driver} is older than {minimum}, the oldest for CUDA {cuda}"
    if found == LIMITED:
        why = "PTX cannot be compiled and newer features are missing"
        return "warning", f"driver {driver} is older than {recommended} of CUDA {cuda}: {why}"
    return "ok", f"driver {driver} runs CUDA {cuda}"


def explained(text: str) -> str:
    """A CUDA fault in the words of what helps, where its number is known."""
    for number, meaning in ERRORS.items():
        if f"Error {number}" in text or f"error {number}" in text or f"({number})" in text:
            return f"CUDA error {number}: {meaning}"
    found = next((number for said, number in _SAID.items() if said in text), None)
    return f"CUDA error {found}: {ERRORS[found]}" if found else text
