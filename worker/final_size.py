"""A picture at the size that was asked for; scaled beside the card, since it may take a second."""

from __future__ import annotations

from PIL import Image

from jobs.model import EditRequest


def at_final_size(
    picture: Image.Image, request: EditRequest, source: tuple[int, int]
) -> Image.Image:
    """``picture``, as the model computed it, at the size that ``request`` means for a source.

    Sizes are (width, height).  ``auto`` is whatever the model made.
    """
    made = source if request.size == "source" else picture.size
    size = request.wanted_size() or made
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
