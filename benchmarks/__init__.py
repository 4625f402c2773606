"""Measurements of the parts around the model: ``make bench``.  Nothing here is a test."""

from __future__ import annotations
