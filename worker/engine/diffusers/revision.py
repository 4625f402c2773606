"""What a folder of weights is called: equal contents, equal name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from jobs.model import canonical_digest

REVISION_DIGITS: Final = 16  # hexadecimal


def folder_revision(folder: Path) -> str:
    """The head of the sha256 over the names, sizes and sha256 of all that is loaded.

    Model cards and hidden files decide no pixel and are left out.  Reads every byte.
    """
    manifest = [
        [path.relative_to(folder).as_posix(), path.stat().st_size, _sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _decides_pixels(path.relative_to(folder))
    ]
    return canonical_digest(manifest)[:REVISION_DIGITS]


def _decides_pixels(relative: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return not hidden and relative.suffix != ".md"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
