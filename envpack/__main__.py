"""``python -m envpack``."""

from __future__ import annotations

from envpack.cli import main

main()
