from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidRequest
from jobs.model import OutputFormat
from producer.cli.entries import Entry, entry_of, stem
from producer.cli.saving import Out, write
from producer.edits import Edit
from producer.inputs import Picture
from tests.unit.producer.shop import Shop, left_in


@pytest.fixture
def job_of(shop: Shop) -> Entry:
    shop.submitted("make it red")
    return entry_of(shop.jobs[0])


def photographed(entry: Entry, name: str, path: Path | None = None) -> Entry:
    picture = Picture(name=name, path=path, data=None if path else b"")
    edit = Edit(pictures=[picture], instruction="x")
    return Entry(name=name, edit=edit, job=entry.job)


def no_stdout() -> io.BytesIO:
    raise AssertionError("nothing is for standard output")


def test_out_is_a_file_for_one_job_and_a_folder_for_several(tmp_path: Path) -> None:
    assert not Out.of("red.png", several=False).is_folder
    assert Out.of("results", several=True).is_folder
    assert Out.of("results/", several=False).is_folder
    assert Out.of(str(tmp_path), several=False).is_folder
    assert Out.of("-", several=False).path is None


def test_a_folder_with_the_name_of_a_picture_is_asked_for_by_a_slash(tmp_path: Path) -> None:
    there = tmp_path / "there.png"
    there.mkdir()

    with pytest.raises(InvalidRequest, match=r"several pictures need a folder.* write red\.png/"):
        Out.of("red.png", several=True)
    assert Out.of("red.png/", several=True).is_folder
    assert Out.of(str(there), several=True).is_folder


def test_a_name_of_another_format_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"red\.tif: pictures are saved as \.png"):
        Out.of("red.tif", several=False)


def test_standard_output_takes_one_picture() -> None:
    with pytest.raises(InvalidRequest, match="takes one picture"):
        Out.of("-", several=True)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.jpg", OutputFormat.JPEG), ("a.WEBP", OutputFormat.WEBP), ("a.v2", None), ("a", None)],
)
def test_a_files_name_asks_for_a_format(name: str, wanted: OutputFormat | None) -> None:
    assert Out.of(name, several=False).format is wanted


def test_results_are_named_for_their_photographs(tmp_path: Path, job_of: Entry) -> None:
    entries = [photographed(job_of, name) for name in ("shots/mug.jpg", "杯子.jpeg", "stdin")]

    assert Out.of(str(tmp_path), several=True).places(entries) == [
        tmp_path / "mug.png",
        tmp_path / "杯子.png",
        tmp_path / "stdin.png",
    ]


def test_two_results_never_share_a_file(tmp_path: Path, job_of: Entry) -> None:
    names = ("a/mug.jpg", "b/mug.png", "c/MUG.png", "mug-2.jpg")
    places = Out.of(str(tmp_path), several=True).places(
        [photographed(job_of, name) for name in names]
    )

    found = [path.name for path in places if path]

    assert found == ["mug.png", "mug-2.png", "MUG-3.png", "mug-2-2.png"]


def test_no_result_takes_the_place_of_a_photograph(tmp_path: Path, job_of: Entry) -> None:
    source = tmp_path / "mug.png"
    places = Out.of(str(tmp_path), several=True).places([photographed(job_of, str(source), source)])

    assert places == [tmp_path / "mug-2.png"]


def test_a_file_that_is_the_photograph_itself_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mug.png"
    source.touch()
    (tmp_path / "link.png").symlink_to(source)

    with pytest.raises(InvalidRequest, match="is the photograph itself"):
        Out.of(str(tmp_path / "link.png"), several=False).prepare([source])


def test_nobody_waits_for_what_a_pipe_may_hold(tmp_path: Path, job_of: Entry) -> None:
    pipe = tmp_path / "mug.png"
    os.mkfifo(pipe)

    assert Out.of(str(pipe), several=False).places([job_of]) == [pipe]


def test_an_entry_without_a_job_gets_no_file(tmp_path: Path) -> None:
    assert Out.of(str(tmp_path), several=True).places([Entry(name="mug.jpg")]) == [None]


def test_a_job_known_by_its_id_is_named_by_its_metadata(tmp_path: Path, job_of: Entry) -> None:
    out = Out.of(str(tmp_path), several=True)
    assert job_of.job is not None
    hostile = replace(job_of.job, metadata={"name": "../../etc/passwd"})
    nameless = replace(job_of.job, metadata={})
    (first, second) = out.places([entry_of(hostile), entry_of(nameless)])

    assert first == tmp_path / "passwd.png"
    assert second == tmp_path / f"{nameless.id}.png"


@given(st.text(max_size=300))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    found = stem(name)

    assert "/" not in found
    assert found not in {".", ".."}
    assert len(found.encode()) <= 180
    assert found.isprintable()


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    Out.of(str(tmp_path / "a/b/"), several=True).prepare()

    assert (tmp_path / "a/b").is_dir()


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    with pytest.raises(InvalidRequest, match="no folder: File exists"):
        Out.of(str(tmp_path / "taken"), several=True).prepare()


def test_a_place_that_cannot_even_be_looked_at_is_an_error(tmp_path: Path) -> None:
    """As is a folder closed to us, which a test run as root cannot have."""
    with pytest.raises(InvalidRequest, match="no folder: File name too long"):
        Out.of(str(tmp_path / f"{'x' * 300}/red.png"), several=False).prepare()


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "red.png"
    place.write_bytes(b"old")
    write(b"new", place, no_stdout)

    assert place.read_bytes() == b"new"
    assert left_in(tmp_path) == ["red.png"]


def test_a_result_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "red.png").mkdir()

    with pytest.raises(InvalidRequest, match=r"red\.png: cannot be written: Is a directory"):
        write(b"new", tmp_path / "red.png", no_stdout)
    assert left_in(tmp_path) == ["red.png"]
