"""What ``packshot demo`` leaves behind: a contact sheet, a page and a list of jobs."""

from __future__ import annotations

import base64
import html
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from jobs.model import OutputFormat
from jobs.pictures import encode

PICTURE: Final = 256  # pixels: the square in which the sheet shows a picture
PAGE_SIDE: Final = 1_024  # pixels: longer pictures are reduced for the page
ONE_COLUMN: Final = 3  # so many edits stand under each other
TWO_COLUMNS: Final = 8

_PAD, _GAP, _MARGIN, _HEADER = 20, 44, 36, 96  # pixels
_INNER: Final = 2 * PICTURE + _GAP
_CARD_WIDTH: Final = _INNER + 2 * _PAD
_CAPTION, _LEADING, _FACTS = 20, 26, 40  # pixels: letters, line to line, the line below
_MAX_LINES: Final = 3

_PAPER, _CARD, _LINE, _EMPTY = "#f4f5f7", "#ffffff", "#dfe2e6", "#f0f1f4"
_TEXT, _SOFT = "#1b1f24", "#626c77"
_STATE_COLORS: Final = {"succeeded": "#1a7f4b", "failed": "#b3261e"}

#: Where fonts with letters that Pillow's own lacks may lie.
FONT_FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
#: File names of fonts with Latin first, then with Chinese.
_FONT_NAMES: Final = re.compile(
    r"(?i)(NotoSans-Regular|DejaVuSans\.|LiberationSans-Regular|Arial\.)"
    r"|(NotoSans(Mono)?(CJK|SC)|SourceHanSans|wqy-|DroidSansFallback|PingFang|Hiragino"
    r"|STHeiti|msyh\.|simhei|simsun|uming|ukai)"
)
_MISSING: Final = "\U0010ffff"  # no font has it: what it draws is the empty box
_WORD: Final = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|[!-~\u00a1-\u2e7f]+|.")

_Font = ImageFont.FreeTypeFont


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One edit as a person judges it."""

    name: str
    instruction: str
    language: str  #: of the instruction, as in HTML's ``lang``
    before: Image.Image
    after: Image.Image | None
    state: str
    seconds: float | None
    job_id: str
    error: str | None = None
    #: the instruction in English; the sheet prints it where no font has the original's letters
    gloss: str = ""


def write_report(edits: Sequence[Edit], folder: Path) -> tuple[Path, Path, Path]:
    """Write ``contact-sheet.png``, ``index.html`` and ``jobs.json``; returns their paths.

    Each file is replaced whole: whoever looks meanwhile sees the old one or the new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheet, page, jobs = (folder / name for name in ("contact-sheet.png", "index.html", "jobs.json"))
    _write(sheet, encode(contact_sheet(edits), OutputFormat.PNG))
    write_page(edits, page)
    _write(jobs, jobs_json(edits).encode())
    return sheet, page, jobs


def write_page(edits: Sequence[Edit], path: Path) -> None:
    """One HTML file that needs no server, no network and no other file."""
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    page = template.substitute(
        summary=html.escape(summary(edits)), cards="\n".join(_card(edit) for edit in edits)
    )
    _write(path, page.encode())


def jobs_json(edits: Iterable[Edit]) -> str:
    """The edits without their pixels, as a JSON list in the order given."""
    rows = [
        {
            "job_id": edit.job_id,
            "name": edit.name,
            "state": edit.state,
            "instruction": edit.instruction,
            "language": edit.language,
            "seconds": edit.seconds,
            "error": edit.error,
            "before": list(edit.before.size),
            "after": list(edit.after.size) if edit.after else None,
        }
        for edit in edits
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def summary(edits: Sequence[Edit]) -> str:
    """``12 edits: 11 succeeded, 1 failed. 0.84 s each (median).``"""
    counts = Counter(edit.state for edit in edits)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    text = f"{len(edits)} {'edit' if len(edits) == 1 else 'edits'}"
    text += f": {states}." if states else "."
    times = sorted(edit.seconds for edit in edits if edit.seconds is not None)
    return f"{text} {times[len(times) // 2]:.2f} s each (median)." if times else text


def _write(path: Path, data: bytes) -> None:
    """Beside the target first, then moved over it: no reader finds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-") as folder:
        whole = Path(folder) / path.name
        whole.write_bytes(data)
        whole.replace(path)


# The page


def _card(edit: Edit) -> str:
    def text(value: str) -> str:
        return html.escape(value, quote=True)

    before = _figure(edit.before, f"Before: {edit.name}", "before")
    if edit.after is None:
        after = '<figure class="after"><p class="none">No picture</p></figure>'
        pair = f'<div class="pair">{before}{after}</div>'
    else:
        after = _figure(edit.after, f"After: {edit.instruction}", "after")
        slider = f'<input type="range" value="50" aria-label="Before / after: {text(edit.name)}">'
        pair = f'<div class="pair both">{before}{after}{slider}</div>'
    gloss = f'<p class="gloss">{text(edit.gloss)}</p>' if edit.gloss else ""
    error = f'<p class="error">{text(edit.error)}</p>' if edit.error else ""
    return (
        f'<article>{pair}<div class="words">'
        f'<p class="instruction" lang="{text(edit.language)}">{text(edit.instruction)}</p>'
        f'{gloss}{error}<p class="facts"><span class="state {text(edit.state)}">{text(edit.state)}'
        f"</span><span>{text(edit.name)}</span><span>{_seconds(edit)}</span>"
        f"<code>{text(edit.job_id)}</code></p></div></article>"
    )


def _figure(image: Image.Image, alt: str, side: str) -> str:
    """Small pictures travel without loss; a photograph need not weigh megabytes."""
    shown = image.copy()
    shown.thumbnail((PAGE_SIDE, PAGE_SIDE))
    form = OutputFormat.PNG if max(shown.size) <= PICTURE else OutputFormat.WEBP
    data = base64.b64encode(encode(shown, form)).decode()
    return (
        f'<figure class="{side}"><img alt="{html.escape(alt, quote=True)}" '
        f'src="data:{form.media_type};base64,{data}">'
        f"<figcaption>{side.capitalize()}</figcaption></figure>"
    )


def _seconds(edit: Edit) -> str:
    return "" if edit.seconds is None else f"{edit.seconds:.2f} s"


# The contact sheet


def contact_sheet(
    edits: Sequence[Edit], *, font_folders: tuple[str, ...] = FONT_FOLDERS
) -> Image.Image:
    """A grid of cards: before, after, and the instruction below."""
    columns = 1 if len(edits) <= ONE_COLUMN else 2 if len(edits) <= TWO_COLUMNS else 3
    rows = -(-len(edits) // columns)
    pen = _Pen(font_folders)
    captions = [pen.caption(edit) for edit in edits]
    longest = max(map(len, captions), default=1)
    card_height = PICTURE + 2 * _PAD + _LEADING * longest + _FACTS
    width = columns * (_CARD_WIDTH + _PAD) - _PAD + 2 * _MARGIN
    height = _HEADER + max(rows, 1) * (card_height + _PAD) - _PAD + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title = _built_in(34)
    draw.text((_MARGIN, 46), "Packshot", fill=_TEXT, font=title, anchor="ls")
    aside = _MARGIN + title.getlength("Packshot") + 14
    draw.text((aside, 46), "before / after", fill=_SOFT, font=title, anchor="ls")
    draw.text((_MARGIN, 74), summary(edits), fill=_SOFT, font=_built_in(17), anchor="ls")
    for index, (edit, caption) in enumerate(zip(edits, captions, strict=True)):
        row, column = divmod(index, columns)
        x = _MARGIN + column * (_CARD_WIDTH + _PAD)
        y = _HEADER + row * (card_height + _PAD)
        box = (x, y, x + _CARD_WIDTH - 1, y + card_height - 1)
        draw.rounded_rectangle(box, radius=10, fill=_CARD, outline=_LINE)
        _draw_pair(sheet, (x + _PAD, y + _PAD), edit, pen)
        for number, line in enumerate(caption):
            baseline = y + _PAD + PICTURE + 6 + _LEADING * (number + 1)
            draw.text((x + _PAD, baseline), line.text, fill=line.color, font=line.font, anchor="ls")
        _draw_facts(draw, (x + _PAD, y + card_height - _PAD), edit, pen)
    return sheet


def _draw_pair(sheet: Image.Image, corner: tuple[int, int], edit: Edit, pen: _Pen) -> None:
    left, top = corner
    right, draw = left + PICTURE + _GAP, ImageDraw.Draw(sheet)
    _draw_picture(sheet, corner, edit.before)
    _draw_arrow(draw, left + PICTURE + _GAP // 2, top + PICTURE // 2)
    if edit.after is None:
        _draw_absence(draw, (right, top), edit, pen)
    else:
        _draw_picture(sheet, (right, top), edit.after)


def _draw_picture(sheet: Image.Image, corner: tuple[int, int], image: Image.Image) -> None:
    """Fitted into the square; the smooth filter adds no edges that are not there."""
    scale = PICTURE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    x = corner[0] + (PICTURE - size[0]) // 2
    y = corner[1] + (PICTURE - size[1]) // 2
    fitted = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    sheet.paste(fitted, (x, y))
    edge = (x - 1, y - 1, x + size[0], y + size[1])
    ImageDraw.Draw(sheet).rectangle(edge, outline=_LINE)


def _draw_arrow(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.line((x - 11, y, x + 8, y), fill=_SOFT, width=2)
    draw.polygon(((x + 11, y), (x + 3, y - 6), (x + 3, y + 6)), fill=_SOFT)


def _draw_absence(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], edit: Edit, pen: _Pen
) -> None:
    x, y = corner
    draw.rectangle((x, y, x + PICTURE - 1, y + PICTURE - 1), fill=_EMPTY, outline=_LINE)
    color = _STATE_COLORS.get(edit.state, _SOFT)
    draw.text((x + 18, y + 40), edit.state, fill=color, font=_built_in(22), anchor="ls")
    reason = edit.error or "no picture"
    for number, line in enumerate(pen.lines(reason, size=16, width=PICTURE - 36, limit=8)):
        baseline = y + 68 + 21 * number
        draw.text((x + 18, baseline), line.text, fill=_TEXT, font=line.font, anchor="ls")


def _draw_facts(draw: ImageDraw.ImageDraw, corner: tuple[int, int], edit: Edit, pen: _Pen) -> None:
    x, baseline = corner
    color = _STATE_COLORS.get(edit.state, _SOFT)
    draw.ellipse((x, baseline - 11, x + 9, baseline - 2), fill=color)
    facts = (edit.state, _seconds(edit), edit.language, edit.name)
    text = ", ".join(fact for fact in facts if fact)
    for line in pen.lines(text, size=16, width=_INNER - 17, limit=1):
        draw.text((x + 17, baseline), line.text, fill=_SOFT, font=line.font, anchor="ls")


# Text: never the empty box that a font draws for a letter it lacks


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    font: _Font
    color: str = _TEXT


@dataclass(frozen=True, slots=True)
class _Pen:
    """Chooses a font that has all letters of a text."""

    folders: tuple[str, ...]

    def caption(self, edit: Edit) -> list[_Line]:
        """The instruction and its gloss; the gloss alone where no font has the letters."""
        if self._font(edit.instruction, _CAPTION) is None and edit.gloss:
            return self.lines(edit.gloss, size=_CAPTION, width=_INNER, limit=_MAX_LINES)
        lines = self.lines(edit.instruction, size=_CAPTION, width=_INNER, limit=_MAX_LINES)
        gloss = self.lines(edit.gloss, size=17, width=_INNER, limit=1) if edit.gloss else []
        return lines + [replace(line, color=_SOFT) for line in gloss]

    def lines(self, text: str, *, size: int, width: int, limit: int) -> list[_Line]:
        font = self._font(text, size)
        if font is None:
            font = _built_in(size)
            known = "".join(c if _covers(font, c) else " " for c in text)
            text = " ".join(known.split()) or "(see index.html)"
        return [_Line(line, font) for line in _broken(text, font, width, limit)]

    def _font(self, text: str, size: int) -> _Font | None:
        fonts = (_built_in(size), *_installed(size, self.folders))
        return next((font for font in fonts if _covers(font, text)), None)


@cache
def _built_in(size: int) -> _Font:
    """Pillow's own font: the same on every machine, Latin letters only."""
    font = ImageFont.load_default(size)
    assert isinstance(font, _Font)  # Pillow's wheels all have FreeType
    return font


@cache
def _installed(size: int, folders: tuple[str, ...]) -> tuple[_Font, ...]:
    files = [
        (match.lastindex or 0, path)
        for folder in folders
        for path in sorted(Path(folder).expanduser().glob("**/*.[to]t[fc]"))
        if (match := _FONT_NAMES.match(path.name))
    ]
    fonts = []
    for _, path in sorted(files, key=lambda item: item[0]):
        try:
            fonts.append(ImageFont.truetype(str(path), size))
        except OSError:  # a file that is named like a font and is none
            continue
    return tuple(fonts)


def _covers(font: _Font, text: str) -> bool:
    missing = bytes(font.getmask(_MISSING))
    return all(bytes(font.getmask(c)) != missing for c in set(text) if not c.isspace())


def _broken(text: str, font: _Font, width: int, limit: int) -> list[str]:
    """Broken between words (Chinese: anywhere); what does not fit ends in three dots."""
    lines = [""]
    words = _WORD.findall(" ".join(text.split()))
    for part in (part for word in words for part in _fitting(word, font, width)):
        if font.getlength(lines[-1] + part) <= width or not lines[-1]:
            lines[-1] += part
        else:
            lines.append(part.lstrip())
    kept = [line.rstrip() for line in lines[:limit]]
    last = kept[-1] + ("..." if len(lines) > limit else "")
    while len(last) > 3 and font.getlength(last) > width:
        last = last.removesuffix("...")[:-1].rstrip() + "..."
    return [*kept[:-1], last]


def _fitting(word: str, font: _Font, width: int) -> Iterable[str]:
    """A word wider than the line is broken like Chinese."""
    return [word] if font.getlength(word) <= width else word
