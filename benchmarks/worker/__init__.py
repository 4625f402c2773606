"""How busy the card is kept, and what a job costs beside it: ``make bench-worker``.

The card is a sleep of a set time.  Pictures are photographs of one megapixel; the bucket is
20 ms farther away, each way, than the embedded one.  Beside ours stands the naive worker:
download, edit, encode and upload one after another in Celery's solo pool.
"""

from __future__ import annotations
