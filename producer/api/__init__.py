"""The HTTP API for downstream services: thin over ``producer.Client``.

``packshot serve`` runs it; docs/http.md describes it.  Nothing here imports the web framework
before ``producer.api.app`` is imported.
"""

from __future__ import annotations
