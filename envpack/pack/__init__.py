"""The build machine's side: builds, packs, signs and ships what ``envpack.node`` unpacks."""

from __future__ import annotations
