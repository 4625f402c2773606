from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidRequest
from jobs.model import OutputFormat, Priority
from producer.arguments import pictures
from producer.cli import manifest
from producer.cli.entries import Entry
from producer.edits import Edit
from producer.inputs import Picture

FOLDER = Path("/shots")


def read(
    text: str | bytes,
    *,
    name: str = "spring.csv",
    instruction: str = "",
    references: Sequence[Picture] = (),
) -> list[Entry]:
    data = text if isinstance(text, bytes) else text.encode()
    template = Edit(pictures=(), instruction=instruction)
    return manifest.entries(
        data, name=name, folder=FOLDER, template=template, references=references
    )


def edit(entry: Entry) -> Edit:
    assert entry.edit is not None, entry.error
    return entry.edit


def errors(entries: list[Entry]) -> list[str]:
    return [f"{one.where}: {one.error}" for one in entries if one.error]


# ---- what is read


def test_a_row_becomes_an_edit() -> None:
    (entry,) = read("image,instruction,sku\nmug.jpg,make it red,A-1\n")

    assert entry.name == "mug.jpg"
    assert edit(entry).instruction == "make it red"
    assert edit(entry).metadata == {"name": "mug.jpg", "sku": "A-1"}


def test_paths_are_relative_to_the_manifest() -> None:
    (entry,) = read("image,image2,instruction\nsub/mug.jpg,/logos/panda.png,x\n")
    source, reference = pictures(edit(entry).pictures)

    assert source == Picture(name="sub/mug.jpg", path=FOLDER / "sub/mug.jpg")
    assert reference.path == Path("/logos/panda.png")


def test_each_known_column_goes_before_the_command_line() -> None:
    header = "image,model,profile,seed,steps,cfg,negative,size,format,quality,alpha,priority,key"
    cells = "a.png,m,fast,7,8,2.5,blur,64x64,JPEG,80,Yes,Bulk,k1"
    (entry,) = read(f"{header},instruction\n{cells},再红一点\n")
    found = edit(entry)

    assert (found.model, found.profile, found.seed, found.steps) == ("m", "fast", 7, 8)
    assert (found.true_cfg_scale, found.negative, found.size) == (2.5, "blur", "64x64")
    assert (found.format, found.priority) == (OutputFormat.JPEG, Priority.BULK)
    assert (found.quality, found.alpha) == (80, True)
    assert (found.idempotency_key, found.instruction) == ("k1", "再红一点")
    assert found.metadata == {"name": "a.png"}


def test_unknown_columns_become_metadata() -> None:
    (entry,) = read("Image,Instruction,Season,颜色,empty\na.png,x,spring,红,\n")

    assert edit(entry).metadata == {"name": "a.png", "season": "spring", "颜色": "红"}


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_chinese_is_read_with_and_without_a_byte_order_mark(mark: str, end: str) -> None:
    text = end.join([f"{mark}image,instruction", "杯子.jpg,把背景换成纯白色", ""])
    (entry,) = read(text)

    assert entry.name == "杯子.jpg"
    assert edit(entry).instruction == "把背景换成纯白色"


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_a_spreadsheet_may_separate_by_its_own_locale(comma: str) -> None:
    (entry,) = read(f"image{comma}instruction\na.png{comma}make it red\n")

    assert edit(entry).instruction == "make it red"


def test_the_instruction_of_the_command_line_fills_empty_cells() -> None:
    ours, theirs = read("image,instruction\na.png,\nb.png,blue\n", instruction="red")

    assert (edit(ours).instruction, edit(theirs).instruction) == ("red", "blue")


def test_references_of_the_command_line_come_after_those_of_the_row() -> None:
    logo = Picture.at("logo.png")
    (entry,) = read("image,image2,instruction\na.png,b.png,x\n", references=[logo])

    assert [one.name for one in pictures(edit(entry).pictures)] == ["a.png", "b.png", "logo.png"]


def test_json_lines_are_read_by_extension_and_by_content() -> None:
    line = json.dumps({"image": "a.png", "instruction": "red", "seed": 7, "sku": 12, "note": None})
    for name in ("rows.jsonl", "stdin"):
        (entry,) = read(f"\n{line}\n", name=name)

        assert edit(entry).seed == 7
        assert edit(entry).metadata == {"name": "a.png", "sku": "12"}


def test_a_line_separator_inside_json_text_ends_no_line() -> None:
    (entry,) = read('{"image": "a.png", "instruction": "red\u2028blue"}', name="rows.jsonl")

    assert edit(entry).instruction == "red\u2028blue"


@pytest.mark.parametrize("name", ["spring.csv", "spring.jsonl"])
def test_the_words_of_the_api_are_understood_too(name: str) -> None:
    row = {
        "image": "a.png",
        "prompt": "red",
        "true_cfg_scale": "2.5",
        "idempotency_key": "k1",
    }
    header, cells = ",".join(row), ",".join(row.values())
    (entry,) = read(f"{header}\n{cells}\n" if name.endswith("csv") else json.dumps(row), name=name)
    found = edit(entry)

    assert (found.instruction, found.true_cfg_scale, found.idempotency_key) == ("red", 2.5, "k1")
    assert found.metadata == {"name": "a.png"}


def test_metadata_of_json_may_be_called_like_an_option() -> None:
    row = {"image": "a.png", "instruction": "x", "metadata": {"size": "XL", "stock": 3}, "sku": "A"}
    (entry,) = read(json.dumps(row), name="rows.jsonl")

    assert edit(entry).size == "auto"
    assert edit(entry).metadata == {"name": "a.png", "sku": "A", "size": "XL", "stock": "3"}


# ---- what is refused, and that the others go on


def test_each_bad_row_is_named_by_file_and_line_and_the_others_go_on() -> None:
    entries = read(
        "image,instruction,seed\n"
        "a.png,red,1\n"
        ",red,1\n"
        "\n"
        '"b.png","two\nlines",x\n'
        "c.png,red,1,2,3\n"
        'd.png,"re"d,1\n'
        "e.png,,1\n"
        "f.png,red,1\n"
    )

    assert [entry.name for entry in entries if entry.edit] == ["a.png", "f.png"]
    assert errors(entries) == [
        "spring.csv:3: image: empty",
        "spring.csv:5: seed: a whole number, got 'x'",
        "spring.csv:7: 5 cells under 3 columns; quote a cell with a comma",
        "spring.csv:8: not CSV: ',' expected after '\"'",
        "spring.csv:9: instruction: empty, and there is no -i for such rows",
    ]


def test_a_quote_that_is_never_closed_swallows_no_row_in_silence() -> None:
    entries = read('image,instruction\na.png,red\nb.png,"blue\nc.png,green\n')

    assert [entry.name for entry in entries if entry.edit] == ["a.png"]
    assert errors(entries) == ["spring.csv:3: not CSV: unexpected end of data"]


def test_bad_lines_of_json_are_named_and_the_others_go_on() -> None:
    lines = [
        '{"image": 5}',
        "nonsense",
        "[1]",
        '{"image": "a", "instruction": "x"}',
        "{}",
        '{"image": "a", "instruction": "x", "prompt": "y"}',
    ]
    entries = read("\n".join(lines), name="rows.jsonl")

    assert errors(entries) == [
        "rows.jsonl:1: image: text, got 5",
        "rows.jsonl:2: not JSON; write one object a line",
        "rows.jsonl:3: not a JSON object; write one object a line",
        "rows.jsonl:5: image: empty",
        "rows.jsonl:6: two values of 'instruction'",
    ]


@pytest.mark.parametrize(
    ("column", "cell", "error"),
    [
        ("seed", "1.5", "seed: a whole number, got '1.5'"),
        ("steps", "many", "steps: a whole number, got 'many'"),
        ("cfg", "high", "cfg: a number, got 'high'"),
        ("format", "tiff", "format: png, jpeg or webp, got 'tiff'"),
        ("priority", "now", "priority: bulk, normal or interactive, got 'now'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_quoted(column: str, cell: str, error: str) -> None:
    entries = read(f"image,instruction,{column}\na.png,x,{cell}\n")

    assert errors(entries) == [f"spring.csv:2: {error}"]


@pytest.mark.parametrize("column", ["image4", "image1", "image_4"])
def test_a_picture_too_many_is_no_metadata(column: str) -> None:
    entries = read(f"image,{column},instruction\na.png,d.png,x\nb.png,,x\n")

    assert errors(entries) == [f"spring.csv:2: {column}: at most 3 pictures: image, image2, image3"]
    assert [entry.name for entry in entries if entry.edit] == ["b.png"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no column 'image' in the first line; columns: none"),
        ("photo,instruction\na.png,x\n", "no column 'image' .* columns: photo, instruction"),
        ("image,sku,SKU\n", "two columns 'sku'"),
        ("image,instruction\n\n , \n", "no rows"),
        ("图,说明\n".encode("gbk"), "spring.csv:1: not UTF-8 text; save the file as UTF-8"),
        (b"image\na.png\n\xff\n", "spring.csv:3: not UTF-8 text"),
    ],
)
def test_what_is_no_manifest_is_refused_as_a_whole(text: str | bytes, error: str) -> None:
    with pytest.raises(InvalidRequest, match=error):
        read(text)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.jsonl", "stdin"]))
def test_no_bytes_break_the_reader(data: bytes, name: str) -> None:
    try:
        entries = read(b"image,instruction\n" + data if name == "a.csv" else data, name=name)
    except InvalidRequest:
        return

    assert all((entry.edit is None) != (entry.error is None) for entry in entries)
