"""The commands around packing: build, sbom, provenance, scan, ship, judge."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from envpack.node.commands import Answer, Command, named_path
from envpack.node.ed25519 import is_valid
from envpack.node.errors import InvalidManifest, NotThere, NotTrusted
from envpack.node.model import checked_digest, parsed, spelt
from envpack.node.trust import keys_of
from envpack.pack import build, judge, lock, provenance, scan, spec
from envpack.pack.build import Sources
from envpack.pack.builders import BUILDERS, present
from envpack.pack.depot import DepotFolder
from envpack.pack.destinations import destination
from envpack.pack.facts import package_facts
from envpack.pack.inventory import environment_of
from envpack.pack.lock import Lock
from envpack.pack.project import commit_of
from envpack.pack.sbom import sbom
from envpack.pack.ship import Item, ship
from envpack.pack.sign import SecretKey

_MB: Final = 1_000_000


def _add_build(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prefix", type=named_path, help="folder to build, as the lock says")
    what.add_argument("--lock", action="store_true", help="solve the spec anew, write its lock")
    parser.add_argument(
        "--spec", type=named_path, default=spec.WORKER, help="default: the worker's"
    )
    parser.add_argument("--variant", default="gpu", help="of the spec; default: gpu")
    parser.add_argument("--lock-file", type=named_path, help="default: beside the spec")
    parser.add_argument(
        "--builder", choices=list(BUILDERS), help="default: the first that is there"
    )
    parser.add_argument(
        "--channel", action="append", metavar="URL", help="instead of the spec's; for --lock"
    )
    parser.add_argument(
        "--wheelhouse",
        type=named_path,
        metavar="FOLDER",
        help="wheels come from here, and only here",
    )


def _build(arguments: argparse.Namespace) -> Answer:
    wanted = spec.read(arguments.spec, arguments.variant)
    if arguments.channel:
        wanted = replace(wanted, channels=tuple(arguments.channel))
    place = arguments.lock_file or lock.beside(arguments.spec, arguments.variant)
    builder = present(arguments.builder)
    sources = Sources(wheelhouse=arguments.wheelhouse, indexes=wanted.indexes)
    if arguments.lock:
        solved = build.refresh(wanted, builder, sources)
        lock.write(place, solved)
        return _built(solved, str(place), builder.name)
    locked = lock.read(place, wanted)
    prefix = build.build(locked, wanted, arguments.prefix.absolute(), builder, sources)
    return _built(locked, str(prefix), builder.name)


def _built(what: Lock, where: str, builder: str) -> Answer:
    counts = {"conda": len(what.conda), "wheels": len(what.wheels)}
    text = f"{where}: {counts['conda']} conda packages, {counts['wheels']} wheels, by {builder}"
    return Answer(text, {"where": where, "builder": builder, **counts})


# ---- reports on a layer


def _add_report(parser: argparse.ArgumentParser) -> None:
    """``--layer`` may be left out where it only says under which name the report is kept."""
    parser.add_argument("prefix", type=named_path, help="folder of the conda environment")
    parser.add_argument("--layer", metavar="DIGEST", help="that it was packed as; with --depot")
    _add_keep(parser)


def _add_report_of_layer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", type=named_path, help="folder of the conda environment")
    parser.add_argument("--layer", required=True, metavar="DIGEST", help="that it was packed as")
    _add_keep(parser)


def _add_keep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--depot", type=named_path, help="keep it in reports/DIGEST of this depot")


def _check_layer(arguments: argparse.Namespace) -> None:
    """A report of one environment is never kept, or signed, as that of another."""
    if arguments.depot is None:
        return
    layer, prefix = checked_digest("layer", arguments.layer), arguments.prefix
    if DepotFolder(arguments.depot).manifest(layer).facts.get("packages") != package_facts(prefix):
        raise InvalidManifest(
            f"{prefix}: holds other packages than layer {layer[:12]}: name the layer that it was"
            " packed as"
        )


def _keep(arguments: argparse.Namespace, name: str, value: Mapping[str, Any]) -> str:
    """Where it was kept; empty: nowhere."""
    if arguments.depot is None:
        return ""
    layer = checked_digest("layer", arguments.layer)
    path = f"reports/{layer}/{name}"
    DepotFolder(arguments.depot).put(path, spelt(dict(value)))
    return str(arguments.depot / path)


def _document(arguments: argparse.Namespace, name: str, value: dict[str, Any], said: str) -> Answer:
    """What is kept is summed up in ``said``; what is not is answered whole, for a file."""
    kept = _keep(arguments, name, value)
    whole = json.dumps(value, indent=2, ensure_ascii=False)
    return Answer(f"{said}, in {kept}" if kept else whole, value)


def _sbom(arguments: argparse.Namespace) -> Answer:
    layer = checked_digest("layer", arguments.layer)
    _check_layer(arguments)
    name = environment_of(arguments.prefix).get("spec", {}).get("name", "environment")
    found = sbom(arguments.prefix, name=name, digest=layer)
    return _document(arguments, "sbom.cdx.json", found, f"{len(found['components'])} packages")


def _add_provenance(parser: argparse.ArgumentParser) -> None:
    _add_report_of_layer(parser)
    parser.add_argument("--key", type=named_path, required=True, help="secret key")
    parser.add_argument("--builder-id", required=True, metavar="URI", help="who builds")
    parser.add_argument("--invocation", default="", metavar="URI", help="this run of it")
    commit = parser.add_mutually_exclusive_group()
    commit.add_argument("--commit", help="of the spec; default: the project's HEAD")
    commit.add_argument("--project", type=named_path, default=Path(), help="checkout")


def _provenance(arguments: argparse.Namespace) -> Answer:
    layer, key = checked_digest("layer", arguments.layer), SecretKey.read(arguments.key)
    _check_layer(arguments)
    record = environment_of(arguments.prefix)
    if not record:
        raise NotThere(f"{arguments.prefix}: not built by packshot-env: its origin is not known")
    said = provenance.statement(
        Lock.from_json(record.get("lock")),
        record.get("spec", {}),
        _subjects(arguments.depot, layer),
        provenance.Origin(
            builder=arguments.builder_id,
            commit=arguments.commit or commit_of(arguments.project),
            invocation=arguments.invocation,
        ),
    )
    envelope = provenance.sealed(said, key_id=key.public.name, sign=key.raw_signature)
    count = len(said["predicate"]["buildDefinition"]["resolvedDependencies"])
    text = f"{count} materials, signed with key {key.public.name}"
    return _document(arguments, "provenance.intoto.json", envelope, text)


def _add_origin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", metavar="DIGEST", help="layer of the depot")
    parser.add_argument("--depot", type=named_path, required=True, help="folder")
    parser.add_argument("--key", action="append", required=True, help="public key or its file")


def _origin(arguments: argparse.Namespace) -> Answer:
    layer = checked_digest("layer", arguments.layer)
    path = f"reports/{layer}/provenance.intoto.json"
    keys = keys_of(arguments.key)
    said = provenance.opened(
        parsed(path, DepotFolder(arguments.depot).read(path)),
        verify=lambda message, one: any(is_valid(key.key, message, one) for key in keys),
    )
    if {"name": f"manifests/{layer}.json", "digest": {"sha256": layer}} not in said["subject"]:
        raise NotTrusted(f"{path}: tells of other layers")
    built, ran = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    materials = built["resolvedDependencies"]
    lines = [f"env {layer[:12]}: signed, of {len(materials)} materials, by {ran['builder']['id']}"]
    lines += [f"  {next(iter(one['digest'].values()))}  {one['name']}" for one in materials]
    return Answer("\n".join(lines), said)


def _subjects(depot: Path | None, layer: str) -> dict[str, str]:
    """The manifest, which is the layer, and the archives that the depot has of it."""
    subjects = {f"manifests/{layer}.json": layer}
    if depot is not None:
        document = DepotFolder(depot).document(layer)
        for archive in document.archives if document else ():
            subjects[f"archives/{archive.name}"] = archive.sha256
    return subjects


def _add_scan(parser: argparse.ArgumentParser) -> None:
    _add_report(parser)
    parser.add_argument("--service", choices=["pypi", "osv"], default="pypi", help="whom to ask")
    parser.add_argument(
        "--osv-url", default="", metavar="URL", help="a server that speaks OSV's API"
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="ID",
        help="known, and decided to live with",
    )


def _scan(arguments: argparse.Namespace) -> Answer:
    service = scan.Service(name=arguments.service, osv_url=arguments.osv_url)
    if arguments.depot is not None and arguments.layer is None:
        raise InvalidManifest("--depot keeps a report by its layer: name it, --layer DIGEST")
    _check_layer(arguments)
    found = scan.scan(arguments.prefix, service, accept=arguments.accept)
    _keep(arguments, "scan.json", found.as_json())
    return Answer(scan.told(found), found.as_json(), scan.EXIT_CODES[found.outcome])


# ---- ship, judge


def _add_ship(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("depot", type=named_path, help="folder that is shipped")
    parser.add_argument("to", metavar="TO", help="HOST:/FOLDER, s3://BUCKET/PREFIX or a folder")
    parser.add_argument("--release", metavar="DIGEST", help="only what this one needs")


def _ship(arguments: argparse.Namespace) -> Answer:
    def tell(item: Item) -> None:
        sys.stderr.write(f"{item.path} {item.size / _MB:.1f} MB\n")

    shipped = ship(arguments.depot, destination(arguments.to), release=arguments.release, each=tell)
    text = (
        f"{shipped.where}: {shipped.sent} of {shipped.files} files sent,"
        f" {shipped.sent_bytes / _MB:.1f} MB; the others were there"
    )
    return Answer(text, shipped.as_json())


def _add_judge(parser: argparse.ArgumentParser) -> None:
    limits = judge.Limits()
    parser.add_argument("report", metavar="FILE", help="of packshot report --by release --json; -")
    parser.add_argument("--canary", metavar="DIGEST", help="the release that is tried out")
    parser.add_argument("--baseline", metavar="DIGEST", help="or the one that it is held against")
    for name, kind, what in (
        ("minimum", int, "attempts before it is promoted"),
        ("tolerance", float, "more errors per attempt that are borne"),
        ("chance", float, "of rolling back what is as good"),
        ("slower", float, "times the baseline's seconds on the card that are borne"),
        ("psnr", float, "dB that each golden picture must reach"),
    ):
        default = getattr(limits, name)
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{what} ({default})")
    parser.add_argument("--no-golden", action="store_true", help="decide without pictures")


def _judge(arguments: argparse.Namespace) -> Answer:
    limits = judge.Limits(
        minimum=arguments.minimum,
        tolerance=arguments.tolerance,
        chance=arguments.chance,
        slower=arguments.slower,
        psnr=None if arguments.no_golden else arguments.psnr,
    )
    found = judge.judge(
        _read(arguments.report), limits, canary=arguments.canary, baseline=arguments.baseline
    )
    return Answer(judge.told(found), found.as_json(), judge.EXIT_CODES[found.verdict])


def _read(name: str) -> Any:  # noqa: ANN401 - any JSON
    if name == "-":
        return parsed("standard input", sys.stdin.buffer.read())
    try:
        return parsed(name, Path(name).read_bytes())
    except FileNotFoundError as fault:
        raise NotThere(f"{name}: no such report") from fault


COMMANDS: Final[Mapping[str, Command]] = {
    "build": Command("build an environment from its lock, or refresh the lock", _add_build, _build),
    "sbom": Command("list what an environment holds, as CycloneDX", _add_report_of_layer, _sbom),
    "provenance": Command("tell, signed, what a layer was made of", _add_provenance, _provenance),
    "origin": Command("what a layer was made of, as it was signed", _add_origin, _origin),
    "scan": Command("known vulnerabilities; 10: some, 11: not audited", _add_scan, _scan),
    "ship": Command("bring a depot to a folder, a host or a bucket", _add_ship, _ship),
    "judge": Command("a canary: 0 promote, 20 wait, 21 roll back", _add_judge, _judge),
}
