from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from standalone.report import (
    PICTURE,
    Edit,
    contact_sheet,
    jobs_json,
    summary,
    write_page,
    write_report,
)

EDIT = Edit(
    name="mug.png",
    instruction="Make the mug black",
    language="en",
    before=Image.new("RGB", (128, 128), "white"),
    after=Image.new("RGB", (128, 128), "black"),
    state="succeeded",
    seconds=0.84,
    job_id="01927a3c-5b1e-7c44-9d0f-000000000000",
)
FAILED = replace(EDIT, after=None, state="failed", seconds=None, error="card 0 ran out of memory")
CHINESE = replace(EDIT, instruction="把杯子改成黑色", language="zh")


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text outside scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in {"script", "style"}:
            self.text += data


def page_of(edits: list[Edit], folder: Path) -> Page:
    write_page(edits, folder / "index.html")
    return Page(folder / "index.html")


# --- the page ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "instruction", "language", "state", "job_id", "gloss"])
def test_no_text_of_a_stranger_becomes_markup(field: str, tmp_path: Path) -> None:
    attack = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&$cards"
    plain = page_of([replace(EDIT, gloss="g")], tmp_path)

    fields: dict[str, Any] = {"gloss": "g", field: attack}
    page = page_of([replace(EDIT, **fields)], tmp_path)

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert not any("onerror" in attributes for _, attributes in page.tags)
    if field != "language":
        assert attack in page.text


def test_an_error_cannot_become_markup(tmp_path: Path) -> None:
    page = page_of([replace(FAILED, error="<b>bad</b>")], tmp_path)

    assert "<b>bad</b>" in page.text


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    page = page_of([EDIT, FAILED], tmp_path)

    sources = [a["src"] for _, a in page.tags if "src" in a]
    assert len(sources) == 3
    assert all(source and source.startswith("data:image/") for source in sources)
    assert not any("href" in attributes for _, attributes in page.tags)


def test_the_instruction_stands_in_its_own_language(tmp_path: Path) -> None:
    page = page_of([CHINESE], tmp_path)

    assert CHINESE.instruction in page.text
    assert ("p", {"class": "instruction", "lang": "zh"}) in page.tags


def test_a_failed_edit_shows_its_error_and_no_slider(tmp_path: Path) -> None:
    page = page_of([FAILED], tmp_path)

    assert "card 0 ran out of memory" in page.text
    assert "No picture" in page.text
    assert "range" not in [a.get("type") for _, a in page.tags]


def test_state_time_and_job_are_shown(tmp_path: Path) -> None:
    text = page_of([EDIT], tmp_path).text

    assert all(fact in text for fact in ("succeeded", "0.84 s", EDIT.job_id, EDIT.name))


def test_a_large_photograph_does_not_weigh_down_the_page(tmp_path: Path) -> None:
    photo = Image.effect_noise((4_000, 3_000), 60)

    write_page([replace(EDIT, before=photo)], tmp_path / "index.html")

    assert (tmp_path / "index.html").stat().st_size < 3_000_000


# --- the contact sheet ------------------------------------------------------------------


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (12, 3, 4)])
def test_the_sheet_has_a_card_for_each_edit(count: int, columns: int, rows: int) -> None:
    one = contact_sheet([EDIT])

    sheet = contact_sheet([EDIT] * count)

    assert columns * 2 * PICTURE < sheet.width < columns * one.width + 1
    assert rows * PICTURE < sheet.height < rows * one.height + 1


def test_before_stands_left_of_after() -> None:
    edit = replace(
        EDIT,
        before=Image.new("RGB", (128, 128), (200, 0, 0)),
        after=Image.new("RGB", (128, 128), (0, 0, 200)),
    )

    colors = contact_sheet([edit]).convert("RGB")

    columns = {
        name: [x for x in range(colors.width) if colors.getpixel((x, 240)) == color]
        for name, color in (("before", (200, 0, 0)), ("after", (0, 0, 200)))
    }
    assert len(columns["before"]) == len(columns["after"]) == PICTURE
    assert max(columns["before"]) < min(columns["after"])


@pytest.mark.parametrize("size", [(128, 64), (3_000, 1_000), (16, 120)])
def test_no_picture_is_stretched(size: tuple[int, int]) -> None:
    edit = replace(EDIT, before=Image.new("RGB", size, (200, 0, 0)), after=None)

    sheet = contact_sheet([edit])

    red = Image.eval(sheet.getchannel("G"), lambda level: 255 if level == 0 else 0)
    box = red.getbbox()
    assert box is not None
    scale = PICTURE / max(size)
    assert (box[2] - box[0], box[3] - box[1]) == (round(size[0] * scale), round(size[1] * scale))


def test_letters_that_no_font_has_give_way_to_the_gloss() -> None:
    chinese = replace(CHINESE, gloss="Make the mug black")
    english = replace(EDIT, language="zh")

    sheet = contact_sheet([chinese], font_folders=())

    assert sheet.tobytes() == contact_sheet([english], font_folders=()).tobytes()


def test_without_font_and_gloss_the_sheet_points_to_the_page() -> None:
    pointer = replace(CHINESE, instruction="(see index.html)")

    sheet = contact_sheet([CHINESE], font_folders=())

    assert sheet.tobytes() == contact_sheet([pointer], font_folders=()).tobytes()


def test_the_sheet_shows_why_an_edit_failed() -> None:
    assert contact_sheet([FAILED]).tobytes() != contact_sheet([replace(FAILED, error="")]).tobytes()


def test_a_long_text_stays_on_its_card() -> None:
    long = replace(FAILED, instruction="W" * 2_000, error="W" * 2_000, name="W" * 500)

    sheet = contact_sheet([long])

    right_of_the_card = sheet.crop((sheet.width - 30, 0, sheet.width, sheet.height))
    assert right_of_the_card.getcolors() == [(30 * sheet.height, (244, 245, 247))]


def test_no_edits_make_an_empty_sheet() -> None:
    assert contact_sheet([]).width > PICTURE


# --- files ------------------------------------------------------------------------------


def test_the_jobs_are_listed_in_order_without_pixels() -> None:
    first, second = json.loads(jobs_json([CHINESE, FAILED]))

    assert first == {
        "job_id": CHINESE.job_id,
        "name": "mug.png",
        "state": "succeeded",
        "instruction": "把杯子改成黑色",
        "language": "zh",
        "seconds": 0.84,
        "error": None,
        "before": [128, 128],
        "after": [128, 128],
    }
    assert (second["after"], second["error"]) == (None, "card 0 ran out of memory")


def test_a_report_is_three_files_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "build" / "demo"

    paths = write_report([EDIT, FAILED], folder)

    assert sorted(folder.iterdir()) == sorted(paths)
    assert [path.name for path in paths] == ["contact-sheet.png", "index.html", "jobs.json"]
    with Image.open(paths[0]) as sheet:
        assert sheet.size == contact_sheet([EDIT, FAILED]).size


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    write_report([EDIT], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    gone = Image.new("RGB", (64, 64))
    gone.close()

    with pytest.raises(ValueError, match="closed"):
        write_page([replace(EDIT, after=gone)], tmp_path / "index.html")

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_put_in_place_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()

    with pytest.raises(OSError, match=r"index\.html"):
        write_page([EDIT], tmp_path / "index.html")

    assert list(tmp_path.rglob("*")) == [tmp_path / "index.html"]


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ([], "0 edits."),
        ([EDIT], "1 edit: 1 succeeded. 0.84 s each (median)."),
        ([FAILED, EDIT, EDIT], "3 edits: 2 succeeded, 1 failed. 0.84 s each (median)."),
        ([FAILED], "1 edit: 1 failed."),
    ],
)
def test_the_summary_counts_states(edits: list[Edit], text: str) -> None:
    assert summary(edits) == text
