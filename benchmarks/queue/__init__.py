"""Jobs per second in and out, beside other queues on the same servers: ``make bench-queue``.

A job does nothing: what is measured is what a queue costs.  Every side runs in processes of
its own, one after the other; one process submits, one works.
"""

from __future__ import annotations
