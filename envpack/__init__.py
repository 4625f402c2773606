"""Packs, ships, verifies, unpacks and activates conda environments; standard library only."""

from __future__ import annotations
