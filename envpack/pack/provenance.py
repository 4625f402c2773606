"""How an environment came to be: an in-toto Statement v1 with SLSA provenance v1, in DSSE.

https://github.com/in-toto/attestation · https://slsa.dev/spec/v1.0/provenance ·
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envpack.node.errors import InvalidManifest, NotTrusted
from envpack.node.model import checked_digest, parsed, spelt
from envpack.pack.inventory import conda_purl, pypi_purl
from envpack.pack.lock import CondaPackage, Lock, Wheel

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
PAYLOAD: Final = "application/vnd.in-toto+json"
#: What ``externalParameters`` mean; described in docs/envpack.md.
BUILD_TYPE: Final = "https://packshot.invalid/envpack/build/v1"

#: A signature (64 bytes of Ed25519) of these bytes.
Sign = Callable[[bytes], bytes]
#: Whether a signature is one of these bytes: ``(message, signature)``.
Verify = Callable[[bytes, bytes], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who built it, from what; ``commit`` is of the repository that holds the spec."""

    builder: str  #: a URI: the pipeline, or the machine
    commit: str
    invocation: str = ""  #: a URI: this run of the pipeline


def statement(
    lock: Lock, spec: Mapping[str, Any], subjects: Mapping[str, str], origin: Origin
) -> dict[str, Any]:
    """``subjects``: file name → sha256 of what was built."""
    for name, digest in subjects.items():
        checked_digest(name, digest)
    metadata = {"metadata": {"invocationId": origin.invocation}} if origin.invocation else {}
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"spec": dict(spec)},
                "internalParameters": {},
                "resolvedDependencies": [
                    {"uri": "git+.", "digest": {"gitCommit": origin.commit}, "name": "spec"},
                    *(_conda(one) for one in sorted(lock.conda)),
                    *(_wheel(one) for one in sorted(lock.wheels)),
                ],
            },
            "runDetails": {"builder": {"id": origin.builder}, **metadata},
        },
    }


def _conda(package: CondaPackage) -> dict[str, Any]:
    name, version, build = package.identity
    purl = conda_purl(name, version, build=build, subdir=package.subdir)
    # A folder of the build machine means nothing to anybody else.
    uri = purl if package.url.startswith("file:") else package.url
    return {"uri": uri, "digest": {"sha256": package.sha256}, "name": package.file}


def _wheel(wheel: Wheel) -> dict[str, Any]:
    uri = pypi_purl(wheel.name, wheel.version)
    return {"uri": uri, "digest": {"sha256": wheel.sha256}, "name": wheel.file}


# ---- the envelope


def sealed(value: Mapping[str, Any], *, key_id: str, sign: Sign) -> dict[str, Any]:
    """The signed envelope; any reader of DSSE verifies it."""
    payload = spelt(dict(value))
    return {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id, "sig": base64.b64encode(sign(_encoded(payload))).decode()}
        ],
    }


def opened(envelope: Any, *, verify: Verify) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """The statement.  Raises ``NotTrusted`` where no signature holds, ``InvalidManifest``."""
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
        kind = envelope["payloadType"]
    except (KeyError, TypeError, ValueError) as fault:
        raise InvalidManifest(f"provenance: not an envelope ({fault!r:.120})") from fault
    if kind != PAYLOAD:
        raise InvalidManifest(f"provenance: payload of type {kind!r:.80}, not {PAYLOAD}")
    if not any(verify(_encoded(payload), one) for one in signatures):
        raise NotTrusted("provenance: no signature of the key that is trusted here")
    found = parsed("provenance", payload)
    if not isinstance(found, dict) or found.get("_type") != STATEMENT:
        raise InvalidManifest(f"provenance: not an in-toto statement of {STATEMENT}")
    return found


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and content, each with its length."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
