"""One process, card and engine: fetch ▸ decode ▸ [card] ▸ judge ▸ encode ▸ upload ▸ complete."""

from __future__ import annotations
