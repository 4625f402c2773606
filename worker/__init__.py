"""One process, one card, one engine: fetch ▸ decode ▸ [card] ▸ encode ▸ upload ▸ complete."""

from __future__ import annotations
