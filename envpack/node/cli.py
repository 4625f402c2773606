"""The host's commands: thin, over what does the work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envpack.node import activate, canary, check, commands, fetch, plan, unpack, weights
from envpack.node import prune as pruning
from envpack.node.commands import Answer, Command, named_path
from envpack.node.depot import depot
from envpack.node.errors import Unsuitable
from envpack.node.host import Host
from envpack.node.model import LAYERS, LayerDocument, Manifest, checked_digest
from envpack.node.settings import DEPOT, KEY, ROOT, settings
from envpack.node.trust import Trusted, keys_of

ABOUT = "Verify, unpack, check and activate environments on this host."
_FAILED = 1
_THEN = (
    "workers that run stay with what they started from: send the supervisor SIGHUP "
    "(systemctl reload packshot-supervisor)"
)


def main() -> None:
    sys.exit(commands.main("packshot-node", ABOUT, COMMANDS, sys.argv[1:]))


def _verify(arguments: argparse.Namespace) -> Answer:
    trusted = _trusted(arguments)
    release, _, _ = trusted.release(arguments.release)
    lines = [f"release {release.name}: signed, counter {release.counter}"]
    for kind in LAYERS:
        digest = getattr(release, kind)
        document = trusted.layer(kind, digest)
        manifest = trusted.manifest(kind, digest)
        lines.append(
            f"{kind:5} {digest[:12]}: signed, {len(manifest.files):,} files, "
            f"{manifest.size / 1e6:,.1f} MB, {len(document.archives)} archives"
        )
        if arguments.archives:
            lines += _compared(trusted, document, manifest)
    return Answer("\n".join(lines), {"verified": True, **release.as_json()})


def _compared(trusted: Trusted, document: LayerDocument, manifest: Manifest) -> Iterator[str]:
    """Reads all that a layer can be brought from; a line for each archive."""
    for archive in document.archives:
        fetch.check_stream(trusted.depot, f"archives/{archive.name}", archive.sha256)
        yield f"      {archive.name[:12]}: {archive.size / 1e6:,.1f} MB, as signed"
    single = {one.sha256 for one in manifest.files} if document.layer == "model" else set()
    for digest in sorted(single):
        fetch.check_stream(trusted.depot, f"files/{digest}", digest)
    if single:
        yield f"      {len(single):,} single files, as signed"


def _unpack(arguments: argparse.Namespace) -> Answer:
    host, digest = _host(arguments), checked_digest("release", arguments.release)
    wishes = plan.Wishes(arguments.allow_older, arguments.again, arguments.model_to)
    done = unpack.unpack(host, _trusted(arguments), digest, wishes)
    fresh = ", ".join(done.fresh) or "nothing was missing"
    text = f"release {done.release.name}: unpacked ({fresh}) in {done.seconds:.1f} s"
    value = {**asdict(done), "release": done.release.digest}
    if not arguments.activate:
        return Answer(text, value)
    switched = _checked_and_activated(host, digest, arguments, done.fresh)
    return Answer(f"{text}\n{switched.text}", {**value, **switched.value}, switched.exit_code)


def _check(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    digest = host.named(arguments.release)
    findings = check.check(host, digest, quick=arguments.quick, needs_card=arguments.gpu)
    failed = check.failed(findings)
    value = {"release": digest, "failed": failed, "findings": check.as_json(findings)}
    return Answer(check.as_text(findings), value, _FAILED if failed else 0)


def _activate(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    digest = host.named(arguments.release)
    if arguments.unchecked:
        return _switched(activate.activate(host, digest, allow_older=arguments.allow_older))
    return _checked_and_activated(host, digest, arguments)


def _checked_and_activated(
    host: Host, digest: str, arguments: argparse.Namespace, fresh: Container[str] = ()
) -> Answer:
    findings = check.check(host, digest, quick=True, needs_card=False, fresh=fresh)
    if check.failed(findings):
        value = {"active": host.linked("current"), "findings": check.as_json(findings)}
        text = f"{check.as_text(findings)}\nnot activated: a check failed"
        return Answer(text, value, _FAILED)
    return _switched(activate.activate(host, digest, allow_older=arguments.allow_older))


def _roll_back(arguments: argparse.Namespace) -> Answer:
    return _switched(activate.roll_back(_host(arguments)))


def _switched(done: activate.Switched) -> Answer:
    before = f", before {done.before[:12]}" if done.before else ""
    text = f"release {done.release.name} ({done.release.digest[:12]}) is current{before}"
    return Answer(text, {"active": done.release.digest, "before": done.before})


def _prune(arguments: argparse.Namespace) -> Answer:
    done = pruning.prune(_host(arguments), keep=arguments.keep, dry_run=arguments.dry_run)
    verb = "would remove" if arguments.dry_run else "removed"
    lines = [f"{verb} {name}" for name in (*done.releases, *done.layers)]
    lines += [f"{verb} {done.downloads / 1e6:,.1f} MB of downloads"] if done.downloads else []
    lines = lines or ["nothing to remove"]
    lines += [f"kept {name}: a process uses it" for name in done.in_use]
    if done.unseen:
        lines.append(f"{done.unseen} processes of other users: known by their release's lock only")
    return Answer("\n".join(lines), asdict(done))


def _canary_set(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    cards = [card.strip() for card in arguments.cards.split(",") if card.strip()]
    digest = host.named(arguments.release)
    answer = _canary_answer(canary.set_to(host, digest, canary.known_as(cards)))
    return answer._replace(text=f"{answer.text}\n{_THEN}")


def _canary_clear(arguments: argparse.Namespace) -> Answer:
    before = canary.clear(_host(arguments))
    text = "no canary" if before is None else f"canary cleared\n{_THEN}"
    return Answer(text, {"canary": None})


def _canary_show(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    if arguments.card is None:
        return _canary_answer(canary.shown(host))
    folder = str(canary.release_for(host.root, arguments.card))
    return Answer(folder, {"card": arguments.card, "folder": folder})


def _canary_answer(found: canary.Canary | None) -> Answer:
    if found is None:
        return Answer("no canary: every card starts from current", {"canary": None})
    text = f"cards {', '.join(found.cards)} start from {found.release[:12]}"
    return Answer(text, {"canary": asdict(found)})


def _model_pull(arguments: argparse.Namespace) -> Answer:
    trusted = _trusted(arguments)
    digest = checked_digest("layer", arguments.layer or trusted.release(arguments.release)[0].model)
    if not arguments.root and not settings().root and arguments.to:
        fetched = weights.pull_into(trusted, digest, arguments.to)
    else:
        host = _host(arguments)
        with host.locked():
            fetched = weights.pull(host, trusted, digest, arguments.to)
    text = f"model {digest[:12]}: complete, {fetched / 1e6:,.1f} MB fetched"
    return Answer(text, {"model": digest, "fetched": fetched})


def _model_verify(arguments: argparse.Namespace) -> Answer:
    wrong = weights.differences_from_sums(arguments.folder)
    text = "\n".join(wrong) or f"{arguments.folder}: as {weights.SUMS} says"
    value = {"folder": str(arguments.folder), "wrong": wrong}
    return Answer(text, value, _FAILED if wrong else 0)


def _list(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    chosen = canary.shown(host)
    marks = {host.linked("previous"): "previous", chosen and chosen.release: "canary"}
    marks[host.linked("current")] = "current"
    rows: list[dict[str, Any]] = [
        {
            "release": digest,
            "name": release.name,
            "counter": release.counter,
            "is": marks.get(digest, ""),
            "state": activate.state_of(host, release),
        }
        for digest, release in host.releases().items()
    ]
    lines = [
        f"{row['release'][:12]}  {row['counter']:>6}  {row['name']:16} {row['is']:8} {row['state']}"
        for row in rows
    ]
    for name, why in host.odd().items():
        rows.append({"release": name, "name": "", "counter": 0, "is": "odd", "state": why})
        lines.append(f"releases/{name}: {why}")
    return Answer("\n".join(lines) or f"no release in {host.root}", rows)


def _show(arguments: argparse.Namespace) -> Answer:
    host = _host(arguments)
    release = host.release(host.named(arguments.release))
    facts = host.manifest("env", release.env).facts
    value = {"digest": release.digest, **release.as_json(), "facts": facts}
    shown = {**release.as_json(), **{k: v for k, v in facts.items() if k != "packages"}}
    lines = [f"{key:20} {one}" for key, one in {"digest": release.digest, **shown}.items()]
    return Answer("\n".join(lines), value)


def _host(arguments: argparse.Namespace) -> Host:
    root = arguments.root or settings().root
    if not root:
        raise Unsuitable(f"no root: give --root FOLDER or set {ROOT}")
    return Host(Path(root))


def _trusted(arguments: argparse.Namespace) -> Trusted:
    place = arguments.depot or settings().depot
    if not place:
        raise Unsuitable(f"no depot: give --depot PLACE or set {DEPOT}")
    keys = arguments.key or settings().keys
    if not keys:
        raise Unsuitable(f"no key to trust: give --key KEY or set {KEY}")
    return Trusted(depot(place), keys_of(keys))


def _at_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", metavar="FOLDER", help=f"of all releases here ({ROOT})")


def _at_depot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--depot", metavar="PLACE", help=f"folder, https:// or s3://BUCKET/PREFIX ({DEPOT})"
    )
    parser.add_argument(
        "--key", action="append", help=f"minisign public key or its file; may repeat ({KEY})"
    )


def _of_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", help="whole digest, as `release` has printed it")
    parser.add_argument(
        "--archives", action="store_true", help="read every archive and all weights too"
    )
    _at_depot(parser)


def _of_unpack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", help="whole digest, as `release` has printed it")
    _older(parser)
    parser.add_argument(
        "--again", action="store_true", help="also what is here, but not as it was unpacked"
    )
    parser.add_argument(
        "--activate", action="store_true", help="make it current then, as `activate` does"
    )
    parser.add_argument(
        "--model-to", type=named_path, metavar="FOLDER", help="another place for weights"
    )
    _at_root(parser)
    _at_depot(parser)


def _older(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-older", action="store_true", help="a release from before, if it is still here"
    )


def _of_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", help="digest or its head, name, current or previous")
    _at_root(parser)


def _of_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", default="current", help="current if left out")
    parser.add_argument("--quick", action="store_true", help="sizes and times, not sha256")
    parser.add_argument("--gpu", action="store_true", help="fail where no card can be seen")
    _at_root(parser)


def _of_activate(parser: argparse.ArgumentParser) -> None:
    _of_release(parser)
    _older(parser)
    parser.add_argument("--unchecked", action="store_true", help="without `check --quick` before")


def _of_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", type=_count, default=2, help="releases besides those in use (2)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    _at_root(parser)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number from 0 on, got {text[:80]!r}")
    return int(text)


def _of_canary_set(parser: argparse.ArgumentParser) -> None:
    _of_release(parser)
    parser.add_argument("--cards", required=True, help="by comma: indices, GPU-<uuid>, cpu:0")


def _of_canary_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--card", help="say only the folder that this card's worker starts from")
    _at_root(parser)


def _of_model_pull(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("layer", nargs="?", help="digest of a model layer")
    which.add_argument("--release", help="digest of a release: its model")
    parser.add_argument("--to", type=named_path, metavar="FOLDER", help="else below the root")
    _at_root(parser)
    _at_depot(parser)


def _of_model_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=named_path)


COMMANDS = {
    "verify": Command("compare a release in a depot with its signatures", _of_verify, _verify),
    "unpack": Command("bring a release onto this host, ready to start", _of_unpack, _unpack),
    "check": Command("say whether a release can work on this host", _of_check, _check),
    "activate": Command("make a release current", _of_activate, _activate),
    "rollback": Command("make the release from before current again", _at_root, _roll_back),
    "prune": Command("remove releases that nobody needs", _of_prune, _prune),
    "canary set": Command("start some cards from a release", _of_canary_set, _canary_set),
    "canary clear": Command("start all cards from current", _at_root, _canary_clear),
    "canary show": Command("say which cards start from which", _of_canary_show, _canary_show),
    "model pull": Command("fetch the weights that are missing", _of_model_pull, _model_pull),
    "model verify": Command("compare weights with SHA256SUMS", _of_model_verify, _model_verify),
    "list": Command("list the releases on this host", _at_root, _list),
    "show": Command("show a release and its environment", _of_release, _show),
}
