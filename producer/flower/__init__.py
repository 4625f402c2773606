"""``packshot flower``: Celery's own web pages, on this system's Redis.

The package ``flower`` does it; here is whom it lets in, and which queues it shows.
"""

from __future__ import annotations
