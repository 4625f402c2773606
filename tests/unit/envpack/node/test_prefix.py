"""Placeholders become the real folder, and nothing else moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.node.errors import InvalidManifest
from envpack.node.model import FileRecord, Prefix
from envpack.node.prefix import MAX_FIRST_LINE, fixed
from tests.envpack_depot import PLACEHOLDER

OLD = PLACEHOLDER.encode()
PLACE = Path("/srv/packshot/env") / ("a" * 64)
NEW = str(PLACE).encode()


def record(mode: str) -> FileRecord:
    return FileRecord("some/file", "a" * 64, 1, 0o755, Prefix(PLACEHOLDER, mode))


def binary(data: bytes) -> bytes:
    return fixed(record("binary"), data, PLACE)


def test_every_place_in_a_text_is_replaced() -> None:
    text = b"a=" + OLD + b"/lib:" + OLD + b"\n"

    assert fixed(record("text"), text, PLACE) == b"a=" + NEW + b"/lib:" + NEW + b"\n"


def test_a_string_is_padded_behind_its_own_end() -> None:
    data = b"\1\2" + OLD + b"/lib\0next\0" + OLD + b"\0"

    result = binary(data)

    freed = len(OLD) - len(NEW)
    assert result == b"\1\2" + NEW + b"/lib" + bytes(freed) + b"\0next\0" + NEW + bytes(freed + 1)


def test_a_string_with_several_is_padded_once() -> None:
    result = binary(OLD + b"/a:" + OLD + b"/b\0tail")

    freed = 2 * (len(OLD) - len(NEW))
    assert result == NEW + b"/a:" + NEW + b"/b" + bytes(freed) + b"\0tail"


def test_a_placeholder_in_no_string_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="some/file: a placeholder in no string"):
        binary(b"\0" + OLD + b"/no end")


@given(st.lists(st.one_of(st.binary(max_size=20), st.just(OLD), st.just(b"\0"))))
def test_no_byte_outside_a_string_with_a_placeholder_moves(pieces: list[bytes]) -> None:
    data = b"".join(pieces) + b"\0"

    result = binary(data)

    assert len(result) == len(data)
    assert OLD not in result
    before, after = data.split(b"\0"), result.split(b"\0")
    assert [one for one in before if one and OLD not in one] == [
        one for one in after if one and NEW not in one
    ]


def test_a_script_names_the_environments_python() -> None:
    script = b"#!" + OLD + b"/bin/python\nprint(1)\n"

    assert fixed(record("text"), script, PLACE) == b"#!" + NEW + b"/bin/python\nprint(1)\n"


def test_a_script_whose_first_line_would_be_cut_starts_through_sh(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    (deep / "bin").mkdir(parents=True)
    (deep / "bin/python3").symlink_to(sys.executable)
    script = deep / "bin/tool"
    content = b"#!" + OLD + b"/bin/python3 -E\nimport sys\nprint(sys.argv[1:], __file__)\n"

    script.write_bytes(fixed(record("text"), content, deep))
    script.chmod(0o755)

    first = script.read_bytes().partition(b"\n")[0]
    assert len(first) <= MAX_FIRST_LINE
    said = subprocess.run([str(script), "a b", "c"], capture_output=True, check=True, text=True)
    assert said.stdout == f"['a b', 'c'] {script}\n"


def test_another_interpreter_too_deep_is_found_by_its_name() -> None:
    deep = Path("/srv") / ("d" * 120)

    result = fixed(record("text"), b"#!" + OLD + b"/bin/perl -w\nrest\n", deep)

    assert result == b"#!/usr/bin/env perl\nrest\n"


def test_a_file_without_a_placeholder_is_left_alone() -> None:
    plain = FileRecord("some/file", "a" * 64, 1, 0o644)

    assert fixed(plain, OLD, PLACE) == OLD
