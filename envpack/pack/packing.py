"""The commands that fill a depot: keygen, pack, app, model add, release, sign, delta."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from envpack.node.commands import Answer, Command, named_path
from envpack.node.model import FORMATS, LAYERS, checked_digest
from envpack.pack.archive import Form
from envpack.pack.delta import make_delta
from envpack.pack.depot import DepotFolder
from envpack.pack.layers import Packed, Rules, pack_application, pack_environment, pack_model
from envpack.pack.project import build_wheel, commit_of
from envpack.pack.release import Layers, Origin, make_release, sign_document
from envpack.pack.sign import SecretKey, make_key
from envpack.pack.survey import Allowed

_MB: Final = 1_000_000
_KIB: Final = 1024


def _add_keygen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "secret", type=named_path, help="file of the secret key; keep it to yourself"
    )
    parser.add_argument("--public", type=named_path, help="default: the secret's name, with .pub")


def _keygen(arguments: argparse.Namespace) -> Answer:
    public = arguments.public or arguments.secret.with_suffix(".pub")
    key = make_key(arguments.secret, public)
    text = f"key {key.public.name}: secret in {arguments.secret}, public in {public}"
    return Answer(text, {"key": key.public.name, "public": str(public)})


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", type=named_path, help="folder of the conda environment")
    _add_depot(parser)
    _add_form(parser)
    parser.add_argument("--keep", action="append", default=[], metavar="RULE", help="leave in")
    parser.add_argument(
        "--allow-leak",
        action="append",
        default=[],
        type=_allowed,
        metavar="PATTERN=REASON",
        help="files that may name the folder they were built in",
    )
    _add_key(parser)


def _pack(arguments: argparse.Namespace) -> Answer:
    began, key = monotonic(), _key(arguments)
    packed = pack_environment(
        arguments.prefix,
        DepotFolder(arguments.depot),
        Form(format=arguments.format, level=arguments.level),
        Rules(keep=arguments.keep, allowed=arguments.allow_leak),
    )
    return _packed(packed, arguments.depot, key, monotonic() - began)


def _add_app(parser: argparse.ArgumentParser) -> None:
    _add_depot(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--project", type=named_path, default=Path(), help="checkout; its HEAD is packed"
    )
    source.add_argument("--wheel", type=named_path, help="a wheel that was built already")
    parser.add_argument(
        "--python",
        type=named_path,
        default=Path(sys.executable),
        help="of the environment that it will run in; default: this one",
    )
    parser.add_argument("--settings", type=named_path, help="becomes settings.env of the layer")
    _add_key(parser)


def _app(arguments: argparse.Namespace) -> Answer:
    began, key = monotonic(), _key(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = arguments.wheel or build_wheel(arguments.project, Path(scratch))
        packed = pack_application(
            wheel, arguments.python, DepotFolder(arguments.depot), arguments.settings
        )
    return _packed(packed, arguments.depot, key, monotonic() - began)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=named_path, help="holds the model's files")
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="also what links out of the folder lead to, as in Hugging Face's cache",
    )
    _add_depot(parser)
    _add_key(parser)


def _model(arguments: argparse.Namespace) -> Answer:
    began, key = monotonic(), _key(arguments)
    depot = DepotFolder(arguments.depot)
    packed = pack_model(arguments.folder, depot, follow_links=arguments.follow_links)
    return _packed(packed, arguments.depot, key, monotonic() - began)


def _add_release(parser: argparse.ArgumentParser) -> None:
    _add_depot(parser)
    for layer in LAYERS:
        parser.add_argument(f"--{layer}", required=True, metavar="DIGEST", help=f"{layer} layer")
    commit = parser.add_mutually_exclusive_group()
    commit.add_argument("--commit", help="of the project; default: its HEAD")
    commit.add_argument("--project", type=named_path, default=Path(), help="checkout")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="that the application asks for, the environment has not, and nobody needs",
    )
    parser.add_argument("--counter", type=int, help="default: the depot's highest and one")
    parser.add_argument("--date", type=date.fromisoformat, help="default: today, in UTC")
    parser.add_argument("--key", type=named_path, required=True, help="secret key")


def _release(arguments: argparse.Namespace) -> Answer:
    origin = Origin(
        git_commit=arguments.commit or commit_of(arguments.project),
        day=arguments.date or datetime.now(UTC).date(),
        counter=arguments.counter,
    )
    layers = Layers(
        env=arguments.env,
        app=arguments.app,
        model=arguments.model,
        without=tuple(arguments.without),
    )
    key = SecretKey.read(arguments.key)
    release = make_release(DepotFolder(arguments.depot), layers, origin, key)
    text = f"{release.digest}\nrelease {release.name}, counter {release.counter}"
    return Answer(text, {"digest": release.digest, **release.as_json()})


def _add_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layers", nargs="+", metavar="DIGEST", help="layers of the depot")
    _add_depot(parser)
    parser.add_argument("--key", type=named_path, required=True, help="secret key")


def _sign(arguments: argparse.Namespace) -> Answer:
    depot, key = DepotFolder(arguments.depot), SecretKey.read(arguments.key)
    digests = [checked_digest("layer", one) for one in arguments.layers]
    signed = [sign_document(depot, f"layers/{one}.json", key) for one in digests]
    text = (
        f"{sum(signed)} signed with key {key.public.name}, {len(signed) - sum(signed)} already were"
    )
    return Answer(text, {"key": key.public.name, "signed": sum(signed)})


def _add_delta(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", metavar="DIGEST", help="what hosts shall have")
    parser.add_argument("--base", required=True, metavar="DIGEST", help="what they have")
    _add_depot(parser)
    _add_form(parser)
    _add_key(parser)


def _delta(arguments: argparse.Namespace) -> Answer:
    depot, key = DepotFolder(arguments.depot), _key(arguments)
    form = Form(format=arguments.format, level=arguments.level)
    archive = make_delta(depot, arguments.layer, arguments.base, form)
    _sign_if_asked(depot, f"layers/{arguments.layer}.json", key)
    document = depot.document(arguments.layer)
    assert document is not None
    whole = min(one.size for one in document.archives if one.base is None)
    text = f"{archive.name}\n{_megabytes(archive.size)}, {archive.size / whole:.1%} of the whole"
    return Answer(text, {**asdict(archive), "share": archive.size / whole})


def _packed(packed: Packed, depot: Path, key: SecretKey | None, seconds: float) -> Answer:
    _sign_if_asked(DepotFolder(depot), packed.document, key)
    lines = [packed.digest, f"{packed.layer}: {_summary(packed)} in {seconds:.1f} s"]
    lines += [
        f"  left out {_megabytes(one.bytes):>10} in {one.files:>6} files: {one.rule}, {one.reason}"
        for one in packed.savings
    ]
    if packed.uncompiled:
        lines.append(f"  {len(packed.uncompiled)} modules are no Python here, and not compiled")
    value: dict[str, Any] = {
        "layer": packed.layer,
        "digest": packed.digest,
        "files": len(packed.manifest.files),
        "bytes": packed.manifest.size,
        "archive": asdict(packed.archive) if packed.archive else None,
        "left_out": [asdict(one) for one in packed.savings],
        "uncompiled": list(packed.uncompiled),
        "facts": packed.manifest.facts,
        "seconds": round(seconds, 3),
        "peak_bytes": peak_memory(),
    }
    return Answer("\n".join(lines), value)


def peak_memory() -> int:
    """Bytes that this program held at most.

    ``ru_maxrss`` would tell of whoever started it as well, where that one was larger.
    """
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(found) * _KIB


def _summary(packed: Packed) -> str:
    tree = f"{len(packed.manifest.files)} files, {_megabytes(packed.manifest.size)}"
    if packed.archive is None:
        return tree
    return f"{tree}, {_megabytes(packed.archive.size)} as {packed.archive.format}"


def _key(arguments: argparse.Namespace) -> SecretKey | None:
    """Before minutes of work, not after them."""
    return SecretKey.read(arguments.key) if arguments.key else None


def _sign_if_asked(depot: DepotFolder, name: str, key: SecretKey | None) -> None:
    if key is not None:
        sign_document(depot, name, key)


def _allowed(text: str) -> Allowed:
    pattern, _, reason = text.partition("=")
    if not pattern or not reason.strip():
        raise argparse.ArgumentTypeError("PATTERN=REASON: somebody must have looked at it")
    return Allowed(pattern=pattern, reason=reason.strip())


def _add_depot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--depot", type=named_path, required=True, help="folder; made if it is not there"
    )


def _add_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument("--level", type=int, help="of compression: tar.zst 1-15, tar.gz 1-9")


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", type=named_path, help="secret key: sign the layer's document at once"
    )


def _megabytes(size: int) -> str:
    return f"{size / _MB:.1f} MB"


COMMANDS: Final[Mapping[str, Command]] = {
    "keygen": Command("make a pair of keys, as minisign does", _add_keygen, _keygen),
    "pack": Command("conda environment → layer", _add_pack, _pack),
    "app": Command("this project's own wheel → layer", _add_app, _app),
    "model add": Command("folder of weights → layer", _add_model, _model),
    "release": Command("name three layers that run together", _add_release, _release),
    "sign": Command("sign the documents of layers", _add_sign, _sign),
    "delta": Command("an archive of what changed since another layer", _add_delta, _delta),
}
