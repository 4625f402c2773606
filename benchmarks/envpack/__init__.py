"""An environment from where it is built to its first job on a host: ``make bench-envpack``.

The same prefix, on the same machine, brought there three ways: packed and unpacked by us, by plain
conda-pack, and installed anew by pip from the lock.
"""

from __future__ import annotations
