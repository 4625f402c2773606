"""What goes wrong on purpose in packing and unpacking.

EnvpackError
├── InvalidManifest     a document that says something impossible
├── NotTrusted          a signature, a digest or a counter that does not hold
├── HostileArchive      a member that must not be written
├── Unsuitable          this host cannot run it: driver, glibc, space, path
├── NotThere            something named does not exist in the depot or on the host
└── Unreachable         the depot did not answer; trying again may help
"""

from __future__ import annotations


class EnvpackError(Exception):
    """Base of the tree.  ``exit_code`` is the command line's."""

    exit_code = 1


class InvalidManifest(EnvpackError):
    """Names the field and what it holds."""

    exit_code = 65  # EX_DATAERR


class NotTrusted(EnvpackError):
    """Names what was checked, what was expected and what was found."""

    exit_code = 77  # EX_NOPERM


class HostileArchive(EnvpackError):
    """Names the archive's member and the rule."""

    exit_code = 76  # EX_PROTOCOL


class Unsuitable(EnvpackError):
    """Names what the host lacks, and where to get it."""

    exit_code = 69  # EX_UNAVAILABLE


class NotThere(EnvpackError):
    """Names what was looked for, and where."""

    exit_code = 66  # EX_NOINPUT


class Unreachable(EnvpackError):
    """Names the depot and the fault."""

    exit_code = 75  # EX_TEMPFAIL
