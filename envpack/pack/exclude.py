"""What is left out of an environment, and why.  Each rule says what it saved when packing.

Reviewed by one question: could a worker that runs, compiles its kernels or tells of an error
read it?  Licences always stay.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from envpack.node.model import LinkRecord
from envpack.pack.errors import NotPackable
from envpack.pack.sources import Source

_STDLIB = r"lib/python3\.\d+/"
_SITE = _STDLIB + r"site-packages/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    name: str
    pattern: re.Pattern[str]  #: matched from the start of the path
    reason: str


def _rule(name: str, pattern: str, reason: str) -> Rule:
    return Rule(name=name, pattern=re.compile(pattern), reason=reason)


#: In the order in which they are asked; the first that matches counts the file.
RULES: Final = (
    _rule(
        "bytecode",
        r".*/__pycache__/[^/]+\.pyc(\.\d+)?$",
        "made again while packing, without times and without the build's folder",
    ),
    _rule(
        "tests",
        rf"{_STDLIB}(test|unittest/test|ctypes/test|sqlite3/test|distutils/tests|lib2to3/tests)/"
        rf"|{_SITE}(?!.*\.dist-info/)(.+/)?tests/",
        "nothing imports the tests of a package at run time",
    ),
    _rule(
        "documents",
        r"(share/)?(man|doc|docs|info|gtk-doc)/(?!.*/?(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|copyright))",
        "manuals are read where they can be searched; licences stay",
    ),
    _rule(
        "static-libraries",
        r".*\.(a|la)$",
        "only a linker reads them; what runs loads shared libraries",
    ),
    _rule(
        "build-files",
        r"(lib|share)/(cmake|pkgconfig|aclocal)/"
        rf"|{_STDLIB}config-[^/]+/"
        rf"|{_SITE}torch/(share/cmake/|bin/protoc)",
        "for building against a library; Triton and inductor need headers only, which stay",
    ),
    _rule(
        "operator-headers",
        rf"{_SITE}torch/include/ATen/ops/",
        "one for each of torch's operators, for C++ extensions; what inductor includes has none",
    ),
    _rule(
        "cuda-headers",
        rf"{_SITE}nvidia/[^/]+/(.+/)?include/",
        "for nvcc, which no environment here has; Triton brings its own",
    ),
    _rule(
        "desktop",
        rf"{_STDLIB}(idlelib|turtledemo|tkinter)/"
        rf"|{_STDLIB}turtle\.py$"
        rf"|{_STDLIB}lib-dynload/_tkinter\.",
        "needs a display",
    ),
    _rule(
        "installers",
        rf"{_STDLIB}ensurepip/",
        "nothing is installed on a host: its tree is read-only",
    ),
    _rule(
        "other-systems",
        rf"{_SITE}.*\.(exe|dll|dylib)$",
        "starts on Windows or macOS only",
    ),
    _rule(
        "caches",
        r"CACHEDIR\.TAG$|(.+/)?\.(mypy_cache|pytest_cache|ruff_cache|cache|ipynb_checkpoints)/",
        "what tools keep for themselves",
    ),
    _rule(
        "origins",
        rf"{_SITE}[^/]+\.dist-info/direct_url\.json$",
        "names folders of the build machine",
    ),
)

#: What they leave out is made again, or would tell of the build machine.
ALWAYS: Final = frozenset({"bytecode", "origins"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What one rule left out."""

    rule: str
    reason: str
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    files: tuple[Source, ...]
    links: tuple[LinkRecord, ...]
    savings: tuple[Saving, ...]


def without_ballast(
    files: Iterable[Source], links: Iterable[LinkRecord], keep: Collection[str] = ()
) -> Kept:
    """``keep``: names of rules that are not asked.  Links to what is left out go with it.

    Raises ``NotPackable`` for a rule that does not exist, or that may not be set aside.
    """
    rules = [rule for rule in RULES if rule.name not in keep]
    optional = [rule.name for rule in RULES if rule.name not in ALWAYS]
    unknown = set(keep) - set(optional)
    if unknown:
        raise NotPackable(
            f"no rule to set aside: {', '.join(sorted(unknown))} (there are: {', '.join(optional)})"
        )
    kept: list[Source] = []
    left_out: dict[Rule, list[Source]] = defaultdict(list)
    for source in files:
        rule = next((one for one in rules if one.pattern.match(source.path)), None)
        (kept if rule is None else left_out[rule]).append(source)
    gone = {source.path for sources in left_out.values() for source in sources}
    return Kept(
        files=tuple(kept),
        links=tuple(_leading_somewhere(links, kept, gone)),
        savings=tuple(_saving(rule, left_out[rule]) for rule in rules if rule in left_out),
    )


def _leading_somewhere(
    links: Iterable[LinkRecord], kept: Iterable[Source], gone: Collection[str]
) -> list[LinkRecord]:
    """Those whose target was a left-out file, or a folder of nothing else, are dropped."""
    links = list(links)
    there = {folder for source in kept for folder in _folders(source.path)}
    lost = {folder for path in gone for folder in _folders(path)} | set(gone)
    lost -= there
    while dropped := {link.path for link in links if _target(link) in lost} - lost:
        lost |= dropped  # a link to a dropped link leads nowhere as well
    return [link for link in links if link.path not in lost]


def _target(link: LinkRecord) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.target))


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _saving(rule: Rule, sources: list[Source]) -> Saving:
    return Saving(
        rule=rule.name,
        reason=rule.reason,
        files=len(sources),
        bytes=sum(source.size for source in sources),
    )
