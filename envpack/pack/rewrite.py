"""Files that are packed otherwise than they stand in the prefix.

bin/*                   scripts find the python beside them, wherever they are unpacked
conda-meta/*.json       what was installed, without where it came from on the build machine
*.dist-info/RECORD      what is packed, with the digests of what is packed
"""

from __future__ import annotations

import base64
import csv
import io
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from envpack.node.model import FileRecord
from envpack.pack.sources import Source
from envpack.pack.survey import Surveyed, surveyed

#: ``sh`` starts the python beside the script with the script; python sees a string.  (A script
#: that named its python would break where the path is longer than a kernel reads: 127 bytes.)
_BESIDE: Final = (
    b"#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'%s'%s \"$0\" \"$@\"\n' '''\n"
)
_SHEBANG: Final = re.compile(rb"#! ?(\S+)/bin/(python[0-9.]*)((?: +-[A-Za-z]+)*) *\n")
#: What pip and rattler write instead where the path is long or holds a blank.
_LONG_SHEBANG: Final = re.compile(
    rb"#!/bin/sh\n'''exec' \"?([^\"\n]+?)/bin/(python[0-9.]*)\"?((?: +-[A-Za-z]+)*)"
    rb" \"\$0\" \"\$@\"(?:\n' '''| #''')\n"
)
#: These must be the first of their file, or on its second line.
_MUST_LEAD: Final = re.compile(
    rb"^from __future__ |\A.*\n[^\n]*coding[:=](?!\s*utf-?8)", re.MULTILINE
)

#: Of a document in ``conda-meta``: what was installed, and from which package.
_META: Final = (
    *("name", "version", "build", "build_number", "subdir", "noarch", "fn", "size"),
    *("depends", "constrains", "license", "license_family", "timestamp", "md5", "sha256"),
    "python_site_packages_path",
)


def rewritten(files: Iterable[Surveyed], site_packages: str) -> list[Surveyed]:
    """All files of an environment, in the same order."""
    found = [_rewritten(one) for one in files]
    packed = {one.record.path: one.record for one in found}
    return [_bookkeeping(one, packed, site_packages) for one in found]


def _rewritten(one: Surveyed) -> Surveyed:
    source = one.source
    if source.path == "conda-meta/history":
        return surveyed(replace(source, content=b""))  # dates, and commands of the build
    if re.fullmatch(r"bin/[^/]+", source.path):
        return _with_python_beside(one)
    return one


def _with_python_beside(one: Surveyed) -> Surveyed:
    source = one.source
    if source.prefix is None or source.prefix.mode != "text":
        return one
    data, placeholder = source.read(), source.prefix.placeholder.encode()
    shebang = _SHEBANG.match(data) or _LONG_SHEBANG.match(data)
    if not shebang or shebang[1] != placeholder or _MUST_LEAD.search(data):
        return one
    body = data[shebang.end() :]
    prefix = source.prefix if placeholder in body else None
    content = _BESIDE % (shebang[2], shebang[3]) + body
    return surveyed(replace(source, content=content, prefix=prefix, sha256=None))


def _bookkeeping(one: Surveyed, packed: Mapping[str, FileRecord], site_packages: str) -> Surveyed:
    source = one.source
    if re.fullmatch(r"conda-meta/[^/]+\.json", source.path):
        content = _what_was_installed(json.loads(source.read()), packed)
    elif re.fullmatch(rf"{re.escape(site_packages)}/[^/]+\.dist-info/RECORD", source.path):
        content = _record(source, packed, site_packages)
    else:
        return one
    return surveyed(replace(source, content=content, prefix=None, sha256=None))


def _what_was_installed(document: dict[str, Any], packed: Mapping[str, FileRecord]) -> bytes:
    kept: dict[str, Any] = {key: document[key] for key in _META if key in document}
    kept["url"] = public_url(str(document.get("url", "")))
    kept["channel"] = public_url(str(document.get("channel", "")))
    kept["files"] = sorted(path for path in document.get("files", ()) if path in packed)
    return json.dumps(kept, indent=1, sort_keys=True).encode() + b"\n"


def public_url(url: str) -> str:
    """Without user, password and token; nothing of a folder on the build machine."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url if "/" not in url.strip("/") else ""
    if parts.scheme == "file":
        return ""
    host = parts.netloc.rpartition("@")[2]
    path = re.sub(r"^/t/[^/]+(?=/)", "", parts.path)
    return urlunsplit((parts.scheme, host, path, "", ""))


def _record(source: Source, packed: Mapping[str, FileRecord], site_packages: str) -> bytes:
    rows = []
    for name, *_ in csv.reader(io.StringIO(source.read().decode("utf-8"))):
        found = packed.get(posixpath.normpath(posixpath.join(site_packages, name)))
        if found is None or name.endswith(".pyc"):
            continue  # left out; bytecode is no part of what a wheel promises
        if found.prefix is not None or found.path == source.path:
            rows.append((name, "", ""))  # its content is the host's
        else:
            rows.append((name, _spelt_digest(found.sha256), str(found.size)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return text.getvalue().encode()


def _spelt_digest(digest: str) -> str:
    spelt = base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
    return f"sha256={spelt}"
