"""How fast the engine is on this card, measured against plain diffusers in the same run.

    sizes       the architecture in numbers: the real one, and a tiny one for the CPU
    building    a pipeline of random weights, made where it is used: compute ignores values
    cases       what is measured: each profile, each placement, levers to try
    budget      what still fits the time; what does not is told, never dropped
    stopwatch   seconds by part
    work        the FLOP that a forward must cost, and the card's own limit
    rows        what came out
    measuring   one case, from build to picture
    machine     what it ran on
    session     the baseline, then case after case
    report      JSON and a Markdown table
    cli         ``python3 -m worker.engine.bench``

Needs torch, diffusers and transformers, and nothing else of this repository's environment:
``carried`` finds diffusers in a wheel beside the repository.  No weights and no network.
"""

from __future__ import annotations
