"""The folder of a release: its document, links to its layers, and the programs that start it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from envpack.node import canary, prune, trees
from envpack.node.host import Host, sync_folder, write
from envpack.node.model import LAYERS, Release

#: Program and the module that the environment's Python runs.
PROGRAMS = {"packshot-worker": "worker", "packshot": "producer"}
_SIGNATURE = "release.json.minisig"
#: The one whose processes have a card each.
_ON_CARDS = "packshot-worker"
_LAUNCHER = """\
#!/bin/sh
# {module} of release {digest}: with its own Python, from where it was unpacked, nowhere else.
release={release}
here=$(dirname "$(readlink -f "$0")")
if [ "$here" != "$release/bin" ] || [ ! -x {python} ]; then
  echo "{program}: unpacked at $release, started from $here: an environment cannot be moved;" \\
    "packshot-env unpack --again" >&2
  exit 69
fi
{canary}unset PYTHONPATH PYTHONHOME PYTHONSTARTUP LD_LIBRARY_PATH LD_PRELOAD
unset CONDA_PREFIX VIRTUAL_ENV
# Safe: "-m" would else look in the working directory first, which may be a checkout.
export PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={app}
export PACKSHOT_RELEASE={digest} PACKSHOT_MODEL_DIR={model}
# What was packed with this application, not with that of a supervisor which starts this; single
# variables come before it, and a file that somebody named instead of it.
case ${{PACKSHOT_ENV_FILE:-}} in '' | {apps}/*/settings.env)
  unset PACKSHOT_ENV_FILE
  if [ -e {app}/settings.env ]; then export PACKSHOT_ENV_FILE={app}/settings.env; fi ;;
esac
# Held for as long as this process lives, so that prune sees it whoever runs it.
exec 9<"$release/release.json"
if command -v flock >/dev/null; then flock -s 9; fi
exec {python} -m {module} "$@"
"""


def write_folder(host: Host, release: Release, content: bytes, signature: bytes) -> Path:
    """Whole or not at all; one that is there already stays as it is."""
    folder = host.release_folder(release.digest)
    document = folder / "release.json"
    if not document.is_file() or document.read_bytes() != content:
        _put(_draft(host, release, content, signature), folder)
    elif not (folder / _SIGNATURE).is_file():
        write(folder / _SIGNATURE, signature, 0o444)
    return folder


def renew_folder(host: Host, release: Release) -> None:
    """Replaces one whose layers stand elsewhere now, unless a program that it started lives."""
    folder = host.release_folder(release.digest)
    content, signature = folder / "release.json", folder / _SIGNATURE
    if not signature.is_file():
        return  # its own unpack brings it
    draft = _draft(host, release, content.read_bytes(), signature.read_bytes())
    if _told(draft) == _told(folder) or prune.is_locked(folder):
        trees.remove(draft)
    else:
        _put(draft, folder)


def _put(draft: Path, folder: Path) -> None:
    with trees.put(draft, folder):
        sync_folder(folder.parent)


def _told(folder: Path) -> tuple[list[str], list[bytes]] | None:
    """Where a release's layers are, and what its programs start; nothing if a part is missing."""
    try:
        targets = [str((folder / kind).readlink()) for kind in LAYERS]
        return targets, [(folder / "bin" / program).read_bytes() for program in PROGRAMS]
    except OSError:
        return None


def _draft(host: Host, release: Release, content: bytes, signature: bytes) -> Path:
    folder = host.release_folder(release.digest)
    draft = folder.with_name(f".{release.digest}")
    trees.remove(draft)
    (draft / "bin").mkdir(parents=True)
    for kind in LAYERS:
        place = host.placed(kind, getattr(release, kind))
        near = host.root in place.parents and host.root in folder.parents
        target = os.path.relpath(place, folder) if near else str(place)
        (draft / kind).symlink_to(target)
    for program, module in PROGRAMS.items():
        text = _launcher(host, release, program, module)
        write(draft / "bin" / program, text.encode(), 0o555)
    write(draft / _SIGNATURE, signature, 0o444)
    write(draft / "release.json", content, 0o444)
    return draft


def _launcher(host: Host, release: Release, program: str, module: str) -> str:
    quoted = {
        "root": host.root,
        "apps": host.layer("app", release.app).parent,
        "release": host.release_folder(release.digest),
        "python": host.placed("env", release.env) / "bin" / "python",
        "app": host.placed("app", release.app),
        "model": host.placed("model", release.model),
    }
    names = {"program": program, "module": module, "digest": release.digest}
    names.update((key, shlex.quote(str(one))) for key, one in quoted.items())
    handing_over = canary.IN_SHELL.format(**names) if program == _ON_CARDS else ""
    return _LAUNCHER.format(canary=handing_over, **names)
