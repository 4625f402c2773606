"""A manifest: many edits in one CSV or JSON Lines file.

\b
    image,image2,image3,instruction,sku,…

Only ``image`` is needed.  ``model``, ``profile``, ``seed``, ``steps``, ``cfg``, ``negative``,
``size``, ``format``, ``quality``, ``alpha`` (yes or no), ``priority`` and ``key`` go before the
options of the command line; any other column becomes metadata, as in JSON does what ``metadata``
holds.  ``prompt``, ``true_cfg_scale`` and ``idempotency_key`` are other names of ``instruction``,
``cfg`` and ``key``.  Relative paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final

from jobs.errors import InvalidRequest
from jobs.model import OutputFormat, Priority
from producer.cli.entries import Entry
from producer.edits import Edit
from producer.inputs import Picture

IMAGES: Final = ("image", "image2", "image3")
#: What looks like one of them must be one: as metadata, a fourth picture would be lost in silence.
_IMAGE: Final = re.compile(r"image[ _-]?[0-9]+")
INSTRUCTION: Final = "instruction"
METADATA: Final = "metadata"
#: The API's and the library's words: as metadata they would be lost in silence.
_SYNONYMS: Final = {"prompt": INSTRUCTION, "true_cfg_scale": "cfg", "idempotency_key": "key"}
#: As people and spreadsheets answer.
_ANSWERS: Final = {
    **dict.fromkeys(("yes", "true", "1", "是"), True),
    **dict.fromkeys(("no", "false", "0", "否"), False),
}
LONGEST_CELL: Final = 1_000_000  # characters; the csv module's own limit is 131,072


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row that can be read; empty cells are left out."""

    line: int  #: where it begins, counted from 1
    values: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)  #: beside that of other columns


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    line: int
    error: InvalidRequest


def entries(
    data: bytes,
    *,
    name: str,
    folder: Path,
    template: Edit,
    references: Sequence[Picture] = (),
) -> list[Entry]:
    """An entry per row, the bad ones with their error.  ``template`` is what rows leave open.

    Raises ``InvalidRequest`` where the whole is no manifest.
    """
    rows = list(read(data, name=name))
    if not rows:
        raise InvalidRequest(f"{name}: no rows")
    return [_entry(row, f"{name}:{row.line}", folder, template, references) for row in rows]


def read(data: bytes, *, name: str) -> Iterator[Row | BadRow]:
    """The rows in order.  Raises ``InvalidRequest`` where there can be none."""
    text = _decoded(data, name)
    suffix = PurePath(name).suffix.lower()
    is_json = suffix in {".jsonl", ".ndjson", ".json"}
    if is_json or (suffix not in {".csv", ".tsv"} and text.lstrip()[:1] in {"{", "["}):
        return _from_json_lines(text)
    return _from_csv(text, name)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise InvalidRequest(f"{name}:{line}: not UTF-8 text; save the file as UTF-8") from None


def _column(name: str) -> str:
    plain = name.strip().lower()
    return _SYNONYMS.get(plain, plain)


# ---- CSV


def _from_csv(text: str, name: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(LONGEST_CELL)
    # Strict: a quote that is never closed would swallow all rows after it in silence.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    columns = _header(reader, name)
    return _cells(reader, columns)


def _delimiter(text: str) -> str:
    """Spreadsheets write what their locale says."""
    header = text.lstrip().split("\n", 1)[0]
    return next((one for one in ",;\t" if one in header), ",")


def _header(reader: Any, name: str) -> list[str]:  # noqa: ANN401 - csv's reader has no public type
    try:
        first: list[str] = next((cells for cells in reader if any(cells)), [])
    except csv.Error as fault:
        raise InvalidRequest(f"{name}:1: {fault}") from None
    columns = [_column(cell) for cell in first]
    if "image" not in columns:
        found = ", ".join(columns)[:200] or "none"
        raise InvalidRequest(f"{name}: no column 'image' in the first line; columns: {found}")
    twice = sorted({one for one in columns if one and columns.count(one) > 1})
    if twice:
        raise InvalidRequest(f"{name}: two columns {twice[0]!r}")
    return columns


def _cells(reader: Any, columns: Sequence[str]) -> Iterator[Row | BadRow]:  # noqa: ANN401
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as fault:
            yield BadRow(line=line, error=InvalidRequest(f"not CSV: {fault}"))
            continue
        if len(cells) > len(columns) and any(cells[len(columns) :]):
            error = f"{len(cells)} cells under {len(columns)} columns; quote a cell with a comma"
            yield BadRow(line=line, error=InvalidRequest(error))
        elif any(cells):
            pairs = zip(columns, cells, strict=False)
            yield Row(line=line, values={name: cell for name, cell in pairs if name and cell})


# ---- JSON Lines


def _from_json_lines(text: str) -> Iterator[Row | BadRow]:
    # Not splitlines(), which also splits at characters that JSON allows inside a string.
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            yield _row(line, json.loads(content))
        except (ValueError, RecursionError):
            error = InvalidRequest("not JSON; write one object a line")
            yield BadRow(line=line, error=error)
        except InvalidRequest as error:
            yield BadRow(line=line, error=error)


def _row(line: int, value: object) -> Row:
    if not isinstance(value, dict):
        raise InvalidRequest("not a JSON object; write one object a line")
    given = {_column(name): cell for name, cell in value.items()}
    if len(given) < len(value):
        columns = Counter(map(_column, value))
        raise InvalidRequest(f"two values of {columns.most_common(1)[0][0]!r}")
    for name in (*IMAGES, INSTRUCTION):
        if not isinstance(given.get(name), str | None):
            raise InvalidRequest(f"{name}: text, got {json.dumps(given[name])[:80]}")
    more = given.pop(METADATA) if isinstance(given.get(METADATA), dict) else {}
    return Row(line=line, values=_texts(given), metadata=_texts(more))


def _texts(given: Mapping[str, object]) -> dict[str, str]:
    """What is no text as its JSON; empty ones are left out."""
    texts = {
        name: cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
        for name, cell in given.items()
        if cell is not None
    }
    return {name: cell.strip() for name, cell in texts.items() if cell.strip()}


# ---- from a row to an edit


def _entry(
    row: Row | BadRow, where: str, folder: Path, template: Edit, references: Sequence[Picture]
) -> Entry:
    if isinstance(row, BadRow):
        return Entry(name="", where=where, error=row.error)
    entry = Entry(name=row.values.get("image", ""), where=where)
    try:
        entry.edit = _edit(row, folder, template, references)
    except InvalidRequest as error:
        entry.error = error
    return entry


def _edit(row: Row, folder: Path, template: Edit, references: Sequence[Picture]) -> Edit:
    values = row.values
    if "image" not in values:
        raise InvalidRequest("image: empty")
    if INSTRUCTION not in values and not template.instruction:
        raise InvalidRequest("instruction: empty, and there is no -i for such rows")
    pictures = [_picture(values[name], folder) for name in IMAGES if name in values]
    known = {*IMAGES, INSTRUCTION, *FIELDS}
    extra = {name: value for name, value in values.items() if name not in known}
    for name in filter(_IMAGE.fullmatch, extra):
        raise InvalidRequest(f"{name}: at most {len(IMAGES)} pictures: {', '.join(IMAGES)}")
    named = {"name": PurePath(values["image"]).name}
    return replace(
        template,
        pictures=[*pictures, *references],
        instruction=values.get(INSTRUCTION, template.instruction),
        metadata={**named, **template.metadata, **extra, **row.metadata},
        **_fields(values),
    )


def _picture(path: str, folder: Path) -> Picture:
    """Named in errors as the manifest names it."""
    return Picture(name=path, path=folder / path)


def _fields(values: Mapping[str, str]) -> dict[str, Any]:
    fields = {}
    for column, (name, read_cell, kind) in FIELDS.items():
        if column in values:
            try:
                fields[name] = read_cell(values[column])
            except (ValueError, LookupError):
                text = f"{column}: {kind}, got {values[column][:40]!r}"
                raise InvalidRequest(text) from None
    return fields


#: Column: field of ``Edit``, how to read it, and what it is called in errors.
FIELDS: Final[Mapping[str, tuple[str, Callable[[str], object], str]]] = {
    "model": ("model", str, "a name"),
    "profile": ("profile", str, "a name"),
    "seed": ("seed", int, "a whole number"),
    "steps": ("steps", int, "a whole number"),
    "cfg": ("true_cfg_scale", float, "a number"),
    "negative": ("negative", str, "text"),
    "size": ("size", str, "a size"),
    "format": ("format", lambda text: OutputFormat(text.lower()), "png, jpeg or webp"),
    "quality": ("quality", int, "a whole number"),
    "alpha": ("alpha", lambda text: _ANSWERS[text.lower()], "yes or no"),
    "priority": ("priority", lambda text: Priority[text.upper()], "bulk, normal or interactive"),
    "key": ("idempotency_key", str, "text"),
}
