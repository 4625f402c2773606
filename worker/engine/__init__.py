"""A loaded model on one card, behind one port: ``base.Engine``."""

from __future__ import annotations
