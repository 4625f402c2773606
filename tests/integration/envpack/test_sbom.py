"""The parts list and the provenance of a real environment, read by others' rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from envpack.node.errors import InvalidManifest, NotThere, NotTrusted
from envpack.node.model import spelt
from envpack.pack.inventory import RECORD, packages
from envpack.pack.lock import CondaPackage, Lock, Wheel
from envpack.pack.provenance import Origin, Verify, opened, sealed, statement
from envpack.pack.sbom import sbom

LAYER = "e" * 64
PYTHON = CondaPackage(url="https://c.example/forge/linux-64/python-3.11.7-0.conda", sha256="a" * 64)
LOCAL = CondaPackage(url="file:///home/me/chan/noarch/demo-1.0-0.conda", sha256="b" * 64)
TORCH = Wheel(name="torch", version="2.14.1+cpu", file="torch-2.14.1+cpu-x.whl", sha256="c" * 64)
LOCK = Lock(spec="d" * 64, platform="linux-64", conda=(PYTHON, LOCAL), wheels=(TORCH,))
ORIGIN = Origin(builder="https://ci.example/packshot", commit="0" * 40, invocation="run/7")


def test_a_parts_list_holds_to_the_schema(conda_prefix: Path) -> None:
    text = json.dumps(sbom(conda_prefix, name="packshot-worker", digest=LAYER))

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_lists_what_conda_and_what_pip_have_brought(conda_prefix: Path) -> None:
    found = {one["name"]: one for one in sbom(conda_prefix, name="w", digest=LAYER)["components"]}

    assert set(found) == {"python", "pip", "demo-conf", "demo-blob", "demo-tool"}
    assert found["demo-tool"]["purl"] == "pkg:pypi/demo-tool@1.0"
    assert found["python"]["purl"].startswith("pkg:conda/python@3.")
    assert found["python"]["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    assert found["python"]["hashes"][0]["alg"] == "SHA-256"


def test_what_conda_brought_is_listed_once(conda_prefix: Path) -> None:
    (pip,) = (one for one in packages(conda_prefix) if one.name == "pip")

    assert pip.kind == "conda"
    assert pip.python.startswith("pip ")


def test_it_is_the_same_each_time_and_names_no_folder_of_the_builder(conda_prefix: Path) -> None:
    one, two = (spelt(sbom(conda_prefix, name="w", digest=LAYER)) for _ in range(2))

    assert one == two
    assert b"file:" not in one
    assert str(conda_prefix).encode() not in one


def test_a_wheel_of_the_lock_is_listed_with_its_digest(tmp_path: Path) -> None:
    prefix = tmp_path / "env"
    (prefix / "conda-meta").mkdir(parents=True)
    record = {"name": "python", "version": "3.11.7", "build": "0", "files": []}
    (prefix / "conda-meta" / "python.json").write_text(json.dumps(record))
    info = prefix / "lib/python3.11/site-packages/torch-2.14.1.dist-info"
    info.mkdir(parents=True)
    head = "Name: Torch\nVersion: 2.14.1+cpu\nLicense-Expression: BSD-3-Clause AND MIT\n"
    (info / "METADATA").write_text(head)
    (prefix / RECORD).parent.mkdir(parents=True)
    (prefix / RECORD).write_text(json.dumps({"lock": LOCK.as_json()}))

    found = sbom(prefix, name="w", digest=LAYER)

    (torch,) = (one for one in found["components"] if one["name"] == "torch")
    assert torch["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
    assert torch["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is None


def test_a_folder_that_is_no_environment_has_no_parts_list(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="not an environment"):
        sbom(tmp_path, name="w", digest=LAYER)


# ---- provenance


def test_provenance_names_every_package_by_digest() -> None:
    said = statement(LOCK, {"name": "w"}, {"a.tar.zst": "f" * 64}, ORIGIN)

    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "a.tar.zst", "digest": {"sha256": "f" * 64}}]
    found = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [one["digest"] for one in found] == [
        {"gitCommit": "0" * 40},
        {"sha256": "b" * 64},
        {"sha256": "a" * 64},
        {"sha256": "c" * 64},
    ]
    assert [one["uri"] for one in found[1:]] == [
        "pkg:conda/demo@1.0?build=0&subdir=noarch",
        PYTHON.url,
        "pkg:pypi/torch@2.14.1%2Bcpu",
    ]


def test_a_subject_without_a_digest_is_no_subject() -> None:
    with pytest.raises(InvalidManifest):
        statement(LOCK, {}, {"a.tar.zst": "latest"}, ORIGIN)


def test_an_envelope_opens_with_its_key_alone() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    said = statement(LOCK, {"name": "w"}, {"a.tar.zst": "f" * 64}, ORIGIN)

    envelope = sealed(said, key_id="one", sign=key.sign)

    assert opened(envelope, verify=_verifier(key)) == said
    with pytest.raises(NotTrusted):
        opened(envelope, verify=_verifier(other))


def test_a_changed_payload_opens_no_more() -> None:
    key = Ed25519PrivateKey.generate()
    said = statement(LOCK, {}, {"a.tar.zst": "f" * 64}, ORIGIN)
    forged = statement(LOCK, {}, {"a.tar.zst": "f" * 64}, replace(ORIGIN, commit="1" * 40))

    envelope = sealed(said, key_id="one", sign=key.sign)
    swapped = {**envelope, "payload": sealed(forged, key_id="", sign=key.sign)["payload"]}

    with pytest.raises(NotTrusted):
        opened(swapped, verify=_verifier(key))


@pytest.mark.parametrize("wrong", [{}, {"payload": "%"}, {"payloadType": "text/plain"}, None])
def test_what_is_no_envelope_is_refused(wrong: dict[str, str] | None) -> None:
    key = Ed25519PrivateKey.generate()
    good = sealed(statement(LOCK, {}, {}, ORIGIN), key_id="", sign=key.sign)

    with pytest.raises(InvalidManifest):
        opened({**good, **wrong} if wrong else wrong, verify=_verifier(key))


def _verifier(key: Ed25519PrivateKey) -> Verify:
    def verify(message: bytes, signature: bytes) -> bool:
        try:
            key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify
