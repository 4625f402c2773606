"""``packshot-worker doctor``: looks at everything a worker needs, and says what to do about it.

findings    what a check may find, and how it is shown
services    Postgres, Redis and S3
host        model folder, card and disk
table       the checks in their order, and which need which
"""
