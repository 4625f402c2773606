"""How jobs come in: a message through Celery, or the next row of the ledger itself."""
