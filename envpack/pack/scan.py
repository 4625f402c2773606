"""Known vulnerabilities of an environment, through pip-audit, believed only where it has looked.

pip-audit exits 0 with "No known vulnerabilities found" when it could look up nothing at all, and
an OSV server says "none" of packages that it has never heard of.  So each package must be in the
answer, and so must a package whose vulnerability everybody knows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from envpack.node.errors import NotThere
from envpack.pack.inventory import canonical, conda_records, distributions, metadata
from envpack.pack.process import last_words, run

CLEAN: Final = "clean"
VULNERABLE: Final = "vulnerable"
NOT_AUDITED: Final = "not-audited"
EXIT_CODES: Final[Mapping[str, int]] = {CLEAN: 0, VULNERABLE: 10, NOT_AUDITED: 11}

#: PYSEC-2021-108 = CVE-2021-33503.  A service that does not know it knows nothing.
CONTROL: Final = ("urllib3", "1.26.4")
_DEAF: Final = (
    f"it has no vulnerability of {'=='.join(CONTROL)}, which has a well-known one: it was not"
    " reached, or does not know"
)
#: conda package → vendor:product in the NVD's dictionary (https://nvd.nist.gov/products/cpe).
CPES: Final[Mapping[str, str]] = {
    "bzip2": "bzip:bzip2",
    "icu": "icu-project:international_components_for_unicode",
    "krb5": "mit:kerberos_5",
    "libcurl": "haxx:libcurl",
    "libexpat": "libexpat_project:libexpat",
    "libffi": "libffi_project:libffi",
    "liblzma": "tukaani:xz",
    "libsqlite": "sqlite:sqlite",
    "libxcrypt": "libxcrypt_project:libxcrypt",
    "libzlib": "zlib:zlib",
    "ncurses": "gnu:ncurses",
    "openssl": "openssl:openssl",
    "python": "python:python",
    "readline": "gnu:readline",
    "sqlite": "sqlite:sqlite",
    "tk": "tcl:tk",
    "xz": "tukaani:xz",
    "zlib": "zlib:zlib",
    "zstd": "facebook:zstandard",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Whom pip-audit asks."""

    name: str = "pypi"  #: ``pypi`` or ``osv``
    osv_url: str = ""  #: a server of one's own that speaks OSV's API

    def options(self) -> list[str]:
        url = ["--osv-url", self.osv_url] if self.osv_url else []
        return ["--vulnerability-service", "osv" if self.osv_url else self.name, *url]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Vulnerability:
    package: str
    version: str
    id: str
    aliases: tuple[str, ...] = ()
    fixed_in: tuple[str, ...] = ()

    def is_one_of(self, ids: Collection[str]) -> bool:
        return bool({self.id, *self.aliases} & set(ids))


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """``asked_at`` is the date of the database: the services are live."""

    service: str
    asked_at: str
    packages: int
    audited: int
    vulnerabilities: tuple[Vulnerability, ...] = ()
    accepted: tuple[Vulnerability, ...] = ()  #: known, and decided to live with
    unaudited: tuple[str, ...] = ()  #: Python packages that nobody could say anything of
    why: str = ""
    native: tuple[Mapping[str, str], ...] = field(default=())  #: never audited, by nobody here

    @property
    def outcome(self) -> str:
        if self.vulnerabilities:
            return VULNERABLE
        whole = self.audited == self.packages > 0 and not self.unaudited and not self.why
        return CLEAN if whole else NOT_AUDITED

    def as_json(self) -> dict[str, Any]:
        return {"schema": 1, "outcome": self.outcome, **asdict(self)}


def scan(prefix: Path, service: Service, *, accept: Collection[str] = ()) -> Report:
    """Every Python package of the prefix, whoever brought it.  Never raises for a service that
    is away: then the outcome is ``not-audited``.  Raises ``NotThere`` for what is no environment.
    """
    versions = _versions(prefix)
    if not versions and not conda_records(prefix):
        raise NotThere(f"{prefix}: holds no package: not an environment")
    asked_at = datetime.now(UTC).isoformat(timespec="seconds")
    found, why = _audit(versions, service)
    if not why:
        control, why = _audit(dict([CONTROL]), service)
        known = bool(_vulnerabilities(dict([CONTROL]), control))
        why = why or ("" if known else _DEAF)
    answered = {name for name, one in found.items() if "vulns" in one}
    those = _vulnerabilities(versions, found)
    return Report(
        service=service.osv_url or service.name,
        asked_at=asked_at,
        packages=len(versions),
        audited=len(answered & set(versions)),
        vulnerabilities=tuple(one for one in those if not one.is_one_of(accept)),
        accepted=tuple(one for one in those if one.is_one_of(accept)),
        unaudited=tuple(sorted(set(versions) - answered)),
        why=why,
        native=native(prefix),
    )


def native(prefix: Path) -> tuple[Mapping[str, str], ...]:
    """What is no Python package.  No database here has conda's builds of C libraries, nor those
    that wheels bring along: they are named, with the CPE to ask the NVD about, and not audited.
    """
    python = {_owner(record) for record in conda_records(prefix)}
    rows = [
        {"name": record["name"], "version": record["version"], "cpe": _cpe(record)}
        for record in conda_records(prefix)
        if record["name"] not in python
    ]
    bundled = (prefix / "lib").glob("python3.*/site-packages/*.libs/*.so*")
    wheels = [
        {"name": one.name, "version": "", "cpe": "", "in": one.parent.name} for one in bundled
    ]
    return tuple(sorted([*rows, *wheels], key=lambda row: str(row["name"])))


def _owner(record: Mapping[str, Any]) -> str:
    """The name of a conda package that pip knows too, else nothing."""
    brings = any(path.endswith(".dist-info/METADATA") for path in record.get("files", ()))
    return str(record["name"]) if brings else ""


def _cpe(record: Mapping[str, Any]) -> str:
    product = CPES.get(record["name"])
    return f"cpe:2.3:a:{product}:{record['version']}:*:*:*:*:*:*:*" if product else ""


def _versions(prefix: Path) -> dict[str, str]:
    """Canonical name → public version: databases know no ``2.14.1+cpu``."""
    heads = map(metadata, distributions(prefix))
    return {canonical(str(one["Name"])): str(one["Version"]).partition("+")[0] for one in heads}


def _audit(
    versions: Mapping[str, str], service: Service
) -> tuple[dict[str, Mapping[str, Any]], str]:
    """(answer by canonical name, why there is none)."""
    with TemporaryDirectory(prefix="envpack-scan-") as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text("".join(f"{name}=={one}\n" for name, one in versions.items()), "utf-8")
        # Not --strict: it ends at the first package that it cannot audit, naming no other.
        words: list[str | Path] = [sys.executable, "-m", "pip_audit", "--requirement", wanted]
        words += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        words += ["--cache-dir", Path(scratch) / "cache", *service.options()]
        ended = run(words, succeeds=range(256))
    try:
        rows = json.loads(ended.stdout)["dependencies"]
        return {canonical(one["name"]): one for one in rows}, ""
    except (ValueError, KeyError, TypeError):
        return {}, f"pip-audit gave no report: {last_words(ended)[-300:]}"


def _vulnerabilities(
    versions: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]
) -> Sequence[Vulnerability]:
    return sorted(
        Vulnerability(
            package=name,
            version=versions[name],
            id=one["id"],
            aliases=tuple(sorted(one.get("aliases", ()))),
            fixed_in=tuple(one.get("fix_versions", ())),
        )
        for name in versions
        for one in found.get(name, {}).get("vulns", ())
    )


def told(report: Report) -> str:
    """For a person."""
    share = f"{report.audited} of {report.packages} Python packages audited"
    lines = [f"{report.outcome}: {share} by {report.service} at {report.asked_at}"]
    if report.why:
        lines.append(f"  {report.why}")
    for one in report.vulnerabilities:
        fixed = f", fixed in {', '.join(one.fixed_in)}" if one.fixed_in else ", no fix known"
        lines.append(f"  {one.package} {one.version}: {one.id}{fixed}")
    lines += [f"  accepted: {one.package} {one.version}: {one.id}" for one in report.accepted]
    if report.unaudited:
        lines.append(f"  not audited: {', '.join(report.unaudited)}")
    if report.native:
        names = ", ".join(f"{one['name']} {one['version']}".strip() for one in report.native)
        lines.append(f"  not audited, native: {names}")
    return "\n".join(lines)
