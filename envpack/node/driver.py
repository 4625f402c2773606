"""Which NVIDIA driver runs which CUDA toolkit: a table and three rules.

Below the floor of a toolkit's major version nothing starts.  Between it and the driver that the
toolkit came with, minor-version compatibility runs what was compiled for the card's own
architecture, but cannot compile PTX.  From there on, and on any newer driver, everything runs.

https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html; table 3 of the
CUDA release notes (Linux), up to 13.3.
"""

from __future__ import annotations

from envpack.node.errors import InvalidManifest
from envpack.node.versions import version

#: By major version of the toolkit: the oldest driver on which anything of it starts.
FLOORS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
#: By toolkit: the driver that it came with (the first release of each minor version).
DRIVERS = {
    "11.7": "515.43.04",
    "11.8": "520.61.05",
    "12.0": "525.60.13",
    "12.1": "530.30.02",
    "12.2": "535.54.03",
    "12.3": "545.23.06",
    "12.4": "550.54.14",
    "12.5": "555.42.02",
    "12.6": "560.28.03",
    "12.8": "570.26",
    "12.9": "575.51.03",
    "13.0": "580.65.06",
    "13.1": "590.44.01",
    "13.2": "595.45.04",
    "13.3": "610.43.02",
}
#: What CUDA's own numbers mean on a host, and what helps.
ERRORS = {
    803: "the driver's library and its kernel module differ: reboot after the driver's upgrade",
    804: "cuda-compat is in use on a card that it does not serve: upgrade the driver instead",
    222: "the driver is too old to compile this build's PTX: upgrade it to the toolkit's own",
}


def floor(cuda: str) -> str:
    """The oldest driver for a toolkit; empty for a major version not known here."""
    return FLOORS.get(version(cuda)[0], "")


def shipped(cuda: str) -> str:
    """The driver that a toolkit (``12.8`` or ``12.8.1``) came with; empty if not known here."""
    return DRIVERS.get(".".join(cuda.split(".")[:2]), "")


def verdict(driver: str, cuda: str, minimum: str = "", recommended: str = "") -> tuple[str, str]:
    """``ok``, ``warning`` or ``failed``, and why.  What a manifest says comes before the table."""
    lowest, best = minimum or floor(cuda), recommended or shipped(cuda)
    try:
        found = version(driver)
        if lowest and found < version(lowest):
            return "failed", f"driver {driver} is older than {lowest}, the oldest for CUDA {cuda}"
        if best and found < version(best):
            why = "PTX cannot be compiled and newer features are missing"
            return "warning", f"driver {driver} is older than {best} of CUDA {cuda}: {why}"
    except InvalidManifest as fault:
        return "failed", f"driver: {fault}"
    return "ok", f"driver {driver} runs CUDA {cuda}"


def explained(text: str) -> str:
    """A CUDA fault in the words of what helps, where its number is known."""
    for number, meaning in ERRORS.items():
        if f"Error {number}" in text or f"error {number}" in text or f"({number})" in text:
            return f"CUDA error {number}: {meaning}"
    names = {"system has unsupported display driver": 803, "forward compat": 804, "PTX": 222}
    found = next((number for said, number in names.items() if said in text), None)
    return f"CUDA error {found}: {ERRORS[found]}" if found else text
