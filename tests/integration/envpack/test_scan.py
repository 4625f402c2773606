"""The scan believes what was looked up, and nothing else.  pip-audit is the real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from envpack.pack.scan import (
    CONTROL,
    EXIT_CODES,
    Report,
    Service,
    Vulnerability,
    native,
    scan,
    told,
)

#: In OSV's schema, as https://api.osv.dev/v1/query answers.
ADVISORY: Mapping[str, Any] = {
    "id": "PYSEC-2021-108",
    "aliases": ["CVE-2021-33503"],
    "summary": "Catastrophic backtracking in the URL's authority",
    "affected": [
        {
            "package": {"name": "urllib3", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.26.5"}]}],
        }
    ],
}


@dataclass
class Osv:
    """A vulnerability service: package → advisories; what it was asked."""

    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, query: Mapping[str, Any]) -> tuple[int, bytes]:
        name = query["package"]["name"]
        self.asked.append(f"{name}=={query['version']}")
        found = [self.known[name]] if name in self.known else []
        return self.status, json.dumps({"vulns": found} if found else {}).encode()


@contextmanager
def serving(answer: Callable[[Mapping[str, Any]], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, data = answer(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture
def osv() -> Iterator[Osv]:
    service = Osv(known={CONTROL[0]: ADVISORY})
    with serving(service.answer) as url:
        service.url = url
        yield service


def test_clean_means_that_every_package_was_looked_up(conda_prefix: Path, osv: Osv) -> None:
    report = scan(conda_prefix, Service(osv_url=osv.url))

    assert report.outcome == "clean", told(report)
    assert {"demo-tool==1.0", "=".join((CONTROL[0], f"={CONTROL[1]}"))} <= set(osv.asked)
    # pip came by conda, and is audited all the same
    assert report.audited == report.packages == 2


def test_a_vulnerability_is_named_with_its_cure(conda_prefix: Path, osv: Osv) -> None:
    affected = {"package": {"name": "demo-tool", "ecosystem": "PyPI"}}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]
    advisory = {**ADVISORY, "id": "PYSEC-1", "affected": [{**affected, "ranges": ranges}]}
    osv.known["demo-tool"] = {**advisory, "aliases": ["CVE-1"]}

    report = scan(conda_prefix, Service(osv_url=osv.url))

    assert EXIT_CODES[report.outcome] == 10
    assert "demo-tool 1.0: PYSEC-1, fixed in 1.1" in told(report)


def test_an_accepted_one_is_still_told(conda_prefix: Path, osv: Osv) -> None:
    affected = [{"package": {"name": "demo-tool", "ecosystem": "PyPI"}, "versions": ["1.0"]}]
    osv.known["demo-tool"] = {"id": "PYSEC-1", "aliases": ["CVE-1"], "affected": affected}

    report = scan(conda_prefix, Service(osv_url=osv.url), accept=["CVE-1"])

    assert report.outcome == "clean"
    assert "accepted: demo-tool 1.0: PYSEC-1" in told(report)


def test_a_service_that_knows_nothing_is_not_believed(conda_prefix: Path, osv: Osv) -> None:
    osv.known.clear()

    report = scan(conda_prefix, Service(osv_url=osv.url))

    assert EXIT_CODES[report.outcome] == 11
    assert "no vulnerability of urllib3==1.26.4, which has a well-known one" in told(report)


def test_a_service_that_is_broken_has_audited_nothing(conda_prefix: Path, osv: Osv) -> None:
    osv.status = 503

    report = scan(conda_prefix, Service(osv_url=osv.url))

    assert (report.outcome, report.audited) == ("not-audited", 0)
    assert "pip-audit gave no report" in report.why


def test_nothing_audited_is_a_failure_where_pip_audit_itself_ends_well(
    conda_prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No PyPI behind this: pip-audit prints "No known vulnerabilities found" and exits 0.
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    report = scan(conda_prefix, Service())

    assert (report.outcome, report.audited) == ("not-audited", 0)


def test_a_package_that_the_service_skips_is_not_audited() -> None:
    half = Report(service="pypi", asked_at="", packages=2, audited=1, unaudited=("torch",))

    assert half.outcome == "not-audited"
    assert "not audited: torch" in told(half)


def test_an_environment_without_packages_is_not_clean() -> None:
    assert Report(service="pypi", asked_at="", packages=0, audited=0).outcome == "not-audited"


def test_a_vulnerability_outweighs_what_was_not_audited() -> None:
    found = Vulnerability(package="a", version="1", id="X")
    both = Report(service="", asked_at="", packages=2, audited=1, vulnerabilities=(found,))

    assert both.outcome == "vulnerable"


def test_native_libraries_are_named_as_not_audited(conda_prefix: Path) -> None:
    rows = {row["name"]: row["cpe"] for row in native(conda_prefix)}

    assert rows["python"].startswith("cpe:2.3:a:python:python:3.")
    assert rows["demo-blob"] == ""
    assert "pip" not in rows
