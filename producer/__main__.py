"""``python -m producer``."""

from __future__ import annotations

from producer.cli.main import main

main()
