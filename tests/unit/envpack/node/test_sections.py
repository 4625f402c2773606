"""An archive of several sections is unpacked by several threads, and by nothing less strictly."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from hashlib import sha256
from itertools import accumulate

import pytest

from envpack.node.errors import HostileArchive, InvalidManifest
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import Archive
from envpack.pack.archive import Form, write_archive
from envpack.pack.compress import SECTION
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import unpacked, with_files

LONG = with_files(
    ENV,
    **{name: name.encode() * (SECTION // 6 + 7) for name in ("lib__a", "lib__b", "lib__c")},
)


def packed(depot: TestDepot, form: str = "tar.zst", content: Content = LONG) -> Archive:
    """As ``packshot-env pack`` writes it."""
    manifest, raw = content.manifest("env"), io.BytesIO()
    files = ((one, [content.files[one.path][0]]) for one in manifest.files)
    archive = write_archive(raw, files, manifest.links, Form(format=form))
    depot.put(f"archives/{archive.name}", raw.getvalue())
    return archive


def recut(archive: Archive, *sections: int) -> Archive:
    return Archive(archive.sha256, archive.size, archive.format, sections=sections)


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst"])
def test_sections_make_the_tree_that_the_whole_makes(
    host: Host, depot: TestDepot, form: str
) -> None:
    archive = packed(depot, form)
    assert len(archive.sections) >= 3

    release = unpacked(host, depot, depot.release(env=depot.layer("env", LONG, [archive]))).release

    assert differing(host, "env", release.env, quick=False) == []
    tree = host.layer("env", release.env)
    assert (tree / "lib/a").read_bytes() == LONG.files["lib/a"][0]
    assert (tree / "etc/demo.conf").read_text() == f"prefix={tree}\n"


@pytest.mark.parametrize(("form", "program"), [("tar.gz", "gzip"), ("tar.zst", "zstd")])
def test_sections_are_one_archive_for_everybody_else(
    depot: TestDepot, form: str, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    path = depot.folder / "archives" / packed(depot, form).name

    plain = subprocess.run([program, "-dc", path], check=True, capture_output=True).stdout

    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert sorted(tar.getnames()) == sorted([*LONG.files, *LONG.links])


def refused(host: Host, depot: TestDepot, archive: Archive) -> None:
    env = depot.layer("env", LONG, [archive])
    with pytest.raises(HostileArchive):
        unpacked(host, depot, depot.release(env=env))
    assert not host.layer("env", env).exists()


def test_a_section_that_ends_elsewhere_is_refused(host: Host, depot: TestDepot) -> None:
    archive = packed(depot)
    first, second, *rest = archive.sections

    refused(host, depot, recut(archive, first - 5, second + 5, *rest))
    refused(host, depot, recut(archive, first + 5, second - 5, *rest))


def test_a_section_that_stands_twice_is_refused(host: Host, depot: TestDepot) -> None:
    archive = packed(depot)
    path = depot.folder / "archives" / archive.name
    ends = list(accumulate(archive.sections))
    content = path.read_bytes()
    again = depot_archive(depot, content[: ends[0]] + content)

    refused(host, depot, recut(again, archive.sections[0], *archive.sections))


def test_only_the_last_section_holds_the_end(host: Host, depot: TestDepot) -> None:
    archive = packed(depot)
    whole = (depot.folder / "archives" / archive.name).read_bytes()
    end = packed(depot, content=Content(files={}))
    nothing = (depot.folder / "archives" / end.name).read_bytes()

    refused(host, depot, recut(depot_archive(depot, nothing + whole), end.size, *archive.sections))


def depot_archive(depot: TestDepot, content: bytes) -> Archive:
    archive = Archive(sha256(content).hexdigest(), len(content), "tar.zst")
    depot.put(f"archives/{archive.name}", content)
    return archive


@pytest.mark.parametrize("sections", [(10,), (5, 6, 1), (0, 11), (12, -1)])
def test_sections_that_are_not_the_archive_are_no_document(sections: tuple[int, ...]) -> None:
    with pytest.raises(InvalidManifest):
        Archive("a" * 64, 11, "tar.zst", sections=sections)


def test_half_a_frame_at_the_end_is_refused(host: Host, depot: TestDepot) -> None:
    archive = packed(depot)
    content = (depot.folder / "archives" / archive.name).read_bytes()[:-5]
    cut = depot_archive(depot, content)

    refused(host, depot, recut(cut, *archive.sections[:-1], archive.sections[-1] - 5))
