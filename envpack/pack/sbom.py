"""The parts list of an environment, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from envpack.pack.inventory import Package, packages


def sbom(prefix: Path, *, name: str, digest: str) -> dict[str, Any]:
    """Of the environment in ``prefix``, packed as the layer ``digest``.

    The same environment gives the same bytes: no time of writing, and a serial number that
    follows from the layer.  Raises ``NotThere`` for a folder that is no environment.
    """
    layer = {
        "type": "platform",
        "bom-ref": f"layer:{digest}",
        "name": name,
        "version": digest,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    found = packages(prefix)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'packshot:layer:{digest}')}",
        "version": 1,
        "metadata": {
            "component": layer,
            "tools": {"components": [{"type": "application", "name": "packshot-env"}]},
        },
        "components": [_component(one) for one in found],
        "dependencies": [{"ref": layer["bom-ref"], "dependsOn": [one.purl for one in found]}],
    }


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.license:
        spelled = {"license": {"name": package.license}}
        component["licenses"] = [{"expression": package.license} if package.expression else spelled]
    if package.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    if package.url:
        component["externalReferences"] = [{"type": "distribution", "url": package.url}]
    if package.python:
        component["properties"] = [{"name": "packshot:pypi", "value": package.python}]
    return component
