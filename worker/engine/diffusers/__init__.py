"""The engine that runs diffusers' pipelines from a local folder.

    models     what differs between the siblings: one row each
    profiles   how a model is run: steps and guidance by name
    sizes      which pixels the model computes, and which the caller gets
    revision   what a folder of weights is called
    pipeline   loading, and the repairs a loaded pipeline needs
    faults     what the card's exceptions mean for an attempt
    engine     ``DiffusersEngine``, the only thing a worker needs

Importing this package loads no torch; ``engine`` and ``pipeline`` do.
"""

from __future__ import annotations
