"""One process, card and engine: fetch ▸ prepare ▸ [card] ▸ finish ▸ encode ▸ upload ▸ complete."""

from __future__ import annotations
