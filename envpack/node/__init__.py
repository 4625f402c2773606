"""The host's side: verifies, unpacks, checks, activates, rolls back.

Travels to a bare host as one file (a zipapp): Python 3.9 syntax and its standard library only,
and nothing of ours from outside this package.
"""

from __future__ import annotations
