"""Whoever submits and asks: client library, CLI, HTTP API."""

from __future__ import annotations
