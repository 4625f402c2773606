"""Colours and transparency of a picture that Pillow has opened."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Final, cast

from PIL import Image, ImageChops, ImageCms

#: What shows through where a picture is transparent.
BACKGROUND: Final = (255, 255, 255)

#: All that Pillow has been seen to raise on bad data, by base class.  A lack of memory says
#: nothing about the data: what is within the limits needs little.
FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,  # where the program turns warnings into errors
    struct.error,
    zlib.error,
)


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours of eight bits (L, RGB or CMYK), and the alpha where there is any."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image), None
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    if image.mode in {"L", "RGB", "CMYK"}:
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scaled, not clipped.  Where the file does not say what white is (32-bit integers and
    floats), it is the least usual value that no pixel exceeds.
    """
    if image.mode.startswith("I;16"):
        white = 65_535.0
    else:
        brightest = float(cast("float", image.getextrema()[1]))  # a tuple only for many bands
        usual = (1.0, 255.0, 65_535.0) if image.mode == "F" else (255.0, 65_535.0)
        white = next((value for value in usual if brightest <= value), 2.0**31)
    wide = image.convert("F")
    return wide.point(lambda value: value * (255.0 / white) + 0.5).convert("L")


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """A profile that is broken, or another colour space's, is ignored.

    One that calls itself sRGB is believed: most photographs carry it, and a transform that
    changes nothing costs 11 ms a megapixel.
    """
    if isinstance(profile, bytes) and profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            known = (source.profile.profile_description or "").startswith("sRGB")
            if space == {"L": "GRAY"}.get(image.mode, image.mode) and not known:
                target = ImageCms.createProfile("sRGB")
                done = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if done is not None:
                    return done
        except (ImageCms.PyCMSError, *FAULTS):
            pass
    return image.convert("RGB")


def on_background(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", colours.size, BACKGROUND)
    canvas.paste(colours, mask=alpha)
    return canvas


def with_alpha(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """RGBA that looks like ``image`` (RGB) when it is laid on ``BACKGROUND``.

    What shows through is taken out of the colours again: half-transparent edges and shadows
    would otherwise carry the background's white to wherever the picture is laid.
    """
    # On white, the inverse of a mixed colour is the inverse colour times alpha.
    mixed = (*ImageChops.invert(image).split(), alpha)
    colours = Image.merge("RGBa", mixed).convert("RGBA").convert("RGB")
    clear = ImageChops.invert(colours)
    clear.putalpha(alpha)
    return clear
