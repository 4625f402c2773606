"""Whether a release can work on this host: one table of checks, each a function.

A check says ok, warning, failed, or skipped with the reason: never nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Callable

from envpack.node import drivers, selfcheck, suitable, weights
from envpack.node.errors import EnvpackError, NotThere
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import Manifest, Release
from envpack.node.process import run

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
_QUERY = "index,uuid,name,driver_version,compute_cap"
_SMI_SECONDS = 30.0
_KERNEL_SECONDS = 180.0  # the first start of CUDA on a cold host takes tens of seconds
_SPARE_DISK = 1 << 30  # bytes; below it a worker's own files soon have no room
#: A product whose result is known: a card that computes wrongly says so too.
_KERNEL = """
import torch
card = torch.device("cuda:0")
a = torch.arange(4096, device=card, dtype=torch.float32).reshape(64, 64)
assert torch.equal((a @ torch.eye(64, device=card)).cpu(), a.cpu()), "wrong result"
torch.cuda.synchronize()
print(torch.cuda.get_device_name(0))
"""


@dataclass(frozen=True)
class Finding:
    check: str
    state: str  #: ok, warning, failed, skipped
    text: str


@dataclass(frozen=True)
class Card:
    index: str
    uuid: str
    name: str
    driver: str
    capability: str  #: ``9.0``


@dataclass
class Subject:
    """A release on this host, and what the checks ask of both."""

    host: Host
    release: Release
    quick: bool
    #: Kinds of layers that this very process has unpacked, compared and tried: not looked at again.
    fresh: Container[str] = ()

    @cached_property
    def env(self) -> Manifest:
        return self.host.manifest("env", self.release.env)

    @cached_property
    def cuda(self) -> str:
        """The toolkit of torch's build; empty for one that runs on the CPU."""
        return str(self.env.facts.get("cuda") or "")

    @cached_property
    def cards(self) -> list[Card]:
        """Raises ``NoCard`` or ``NotThere`` saying why the driver shows none."""
        return cards()


class NoCard(NotThere):
    """This host has no NVIDIA driver, or one that shows no card."""


Found = Iterator["tuple[str, str]"]
Check = Callable[[Subject], Found]


def check(
    host: Host, digest: str, *, quick: bool, needs_card: bool, fresh: Container[str] = ()
) -> list[Finding]:
    """All findings.  Raises ``NotThere`` only for a release that is not here.

    Without a card, what asks for one is skipped; with ``needs_card`` it fails.  ``fresh``: kinds
    of layers that this process has just unpacked.
    """
    subject = Subject(host, host.release(digest), quick, fresh)
    findings = [Finding(name, *one) for name, ask in CHECKS.items() for one in _asked(ask, subject)]
    for name, ask in ON_CARDS.items():
        found = _asked_of_cards(ask, subject, FAILED if needs_card else SKIPPED)
        findings += [Finding(name, *one) for one in found]
    return findings


def _asked(ask: Check, subject: Subject) -> list[tuple[str, str]]:
    try:
        return list(ask(subject))
    except EnvpackError as fault:
        return [(FAILED, str(fault))]


def _asked_of_cards(ask: Check, subject: Subject, without: str) -> list[tuple[str, str]]:
    try:
        if not subject.cuda:
            return [(without, "built for the CPU")]
        subject.cards  # noqa: B018 - a property that asks the driver once
    except NoCard as fault:
        return [(without, str(fault))]
    except EnvpackError as fault:
        return [(FAILED, str(fault))]
    return _asked(ask, subject)


def failed(findings: list[Finding]) -> bool:
    return any(finding.state == FAILED for finding in findings)


def as_text(findings: list[Finding]) -> str:
    width = max(len(finding.check) for finding in findings)
    rows = [f"{one.state:8}{one.check:{width}}  {one.text}" for one in findings]
    return "\n".join(rows)


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in findings]


def cards() -> list[Card]:
    """What nvidia-smi shows.  Raises ``NoCard`` or ``NotThere`` saying why it shows none."""
    ended = run(["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"], _SMI_SECONDS)
    if ended.code == 127:
        raise NoCard("no nvidia-smi on this host: nothing was asked of a card")
    if ended.code:
        raise NotThere(f"nvidia-smi: {drivers.explained(ended.last_line)}")
    rows = [line.split(", ") for line in ended.out.strip().splitlines()]
    found = [
        Card(*(cell.strip() for cell in row)) for row in rows if len(row) == len(_QUERY.split(","))
    ]
    if not found:
        raise NoCard(f"nvidia-smi shows no card: {ended.last_line}")
    return found


def _files(subject: Subject, kind: str) -> Found:
    digest = getattr(subject.release, kind)
    place = subject.host.placed(kind, digest)
    if kind in subject.fresh:
        yield OK, f"just unpacked, in {place}"
        return
    wrong = differing(subject.host, kind, digest, quick=subject.quick)
    if wrong:
        yield FAILED, f"{len(wrong)} files not as unpacked, {wrong[0]}: packshot-env unpack --again"
        return
    how = "by size and time" if subject.quick else "by sha256"
    yield OK, f"{len(subject.host.manifest(kind, digest).files):,} files {how}, in {place}"


def _model(subject: Subject) -> Found:
    digest = subject.release.model
    folder = subject.host.placed("model", digest)
    if "model" in subject.fresh:
        yield OK, f"just fetched, in {folder}"
        return
    manifest = subject.host.manifest("model", digest)
    wrong = weights.differences(folder, manifest, quick=subject.quick)
    strangers = [] if subject.quick else weights.strangers(folder, manifest)
    if wrong:
        how = "packshot-env model pull --release RELEASE"
        yield FAILED, f"{folder}: {len(wrong)} files not as fetched, {wrong[0]}: {how}"
    elif strangers:
        text = f"{len(strangers)} files too many, {strangers[0]}: is not in the manifest: remove it"
        yield FAILED, f"{folder}: {text}"
    else:
        yield OK, f"{len(manifest.files):,} files in {folder}"


def _host(subject: Subject) -> Found:
    facts = subject.env.facts
    suitable.check_platform(facts.get("platform", ""))
    suitable.check_glibc(facts.get("glibc", ""))
    yield OK, f"{suitable.here()}, glibc {suitable.glibc() or 'none'}"


def _imports(subject: Subject) -> Found:
    if not selfcheck.has_python(subject.env):
        yield SKIPPED, "the environment has no Python"
        return
    if "env" in subject.fresh:
        yield OK, "Python starts; just unpacked, and tried"
        return
    # Quickly, to start is enough: its files are as they were when all was loaded, at unpacking.
    names = [] if subject.quick else subject.env.facts.get("imports", [])
    wrong = selfcheck.failed_imports(subject.host.placed("env", subject.release.env), names)
    for name, why in wrong.items():
        yield FAILED, f"{name}: {drivers.explained(why)}"
    if not wrong:
        loaded = ", ".join(names) or ("nothing, to be quick" if subject.quick else "none is listed")
        yield OK, f"Python starts; loaded: {loaded}"


def _application(subject: Subject) -> Found:
    """Its own modules, by the Python and with the packages of this environment."""
    host, release = subject.host, subject.release
    names = host.manifest("app", release.app).facts.get("imports") or []
    if not names or subject.quick or not selfcheck.has_python(subject.env):
        yield SKIPPED, "loads nothing, to be quick" if subject.quick else "names no module to load"
        return
    env, app = host.placed("env", release.env), host.placed("app", release.app)
    wrong = selfcheck.failed_imports(env, names, app)
    for name, why in wrong.items():
        yield FAILED, f"{name}: {drivers.explained(why)}"
    if not wrong:
        yield OK, f"loaded: {', '.join(names)}"


def _driver(subject: Subject) -> Found:
    facts = subject.env.facts
    minimum = subject.release.minimum_driver or str(facts.get("minimum_driver") or "")
    recommended = str(facts.get("recommended_driver") or "")
    for version in sorted({card.driver for card in subject.cards}):
        yield drivers.verdict(version, subject.cuda, minimum, recommended)


def _cards(subject: Subject) -> Found:
    for card in subject.cards:
        yield OK, f"{card.index} {card.uuid} {card.name}"


def _architectures(subject: Subject) -> Found:
    built = [str(one) for one in subject.env.facts.get("architectures") or []]
    if not built:
        yield SKIPPED, "the manifest names none"
        return
    for card in subject.cards:
        yield _architecture(card, built)


def _architecture(card: Card, built: list[str]) -> tuple[str, str]:
    """Code for a minor version runs on the later ones of its major; PTX on all later cards."""
    mine = _number(card.capability)
    native = [_number(one[3:]) for one in built if one.startswith("sm_")]
    if any(one[0] == mine[0] and one[1] <= mine[1] for one in native):
        return OK, f"{card.name}: sm_{mine[0]}{mine[1]} is served by this build"
    if any(_number(one[8:]) <= mine for one in built if one.startswith("compute_")):
        return (
            WARNING,
            f"{card.name}: sm_{mine[0]}{mine[1]} only through PTX: the first start is slow",
        )
    return FAILED, f"{card.name}: sm_{mine[0]}{mine[1]} is not in this build ({', '.join(built)})"


def _number(text: str) -> tuple[int, int]:
    """``9.0`` and ``90`` and ``90a`` are (9, 0)."""
    digits = "".join(one for one in text if one.isdigit())
    return int(digits[:-1] or "0"), int(digits[-1:] or "0")


def _kernels(subject: Subject) -> Found:
    if subject.quick:  # it would start CUDA on each card in turn, beside the workers that run there
        yield SKIPPED, "none run, to be quick"
        return
    python = str(subject.host.placed("env", subject.release.env) / "bin" / "python")
    for card in subject.cards:
        only = {"CUDA_VISIBLE_DEVICES": card.uuid}
        ended = run([python, "-I", "-B", "-c", _KERNEL], _KERNEL_SECONDS, only)
        if ended.code:
            yield FAILED, f"{card.name} {card.uuid}: {drivers.explained(ended.last_line)}"
        else:
            yield OK, f"{card.name} {card.uuid}: computed"


def _disk(subject: Subject) -> Found:
    free = shutil.disk_usage(subject.host.root).free
    state = OK if free >= _SPARE_DISK else WARNING
    yield state, f"{free / 1e9:,.1f} GB free below {subject.host.root}"


#: Asked of every release.
CHECKS: dict[str, Check] = {
    "env": lambda subject: _files(subject, "env"),
    "app": lambda subject: _files(subject, "app"),
    "model": _model,
    "host": _host,
    "disk": _disk,
    "imports": _imports,
    "application": _application,
}
#: Asked where the environment was built for CUDA.
ON_CARDS: dict[str, Check] = {
    "cards": _cards,
    "driver": _driver,
    "architectures": _architectures,
    "kernels": _kernels,
}
