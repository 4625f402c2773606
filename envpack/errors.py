"""What goes wrong on purpose in packing and unpacking.

EnvpackError
└── InvalidManifest     a manifest or release that says something impossible
"""

from __future__ import annotations


class EnvpackError(Exception):
    """Base of the tree."""


class InvalidManifest(EnvpackError):
    """Names the field and what it holds."""
