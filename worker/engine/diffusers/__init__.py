"""The engine that runs diffusers' pipelines from a local folder.

    models      what differs between the siblings: one row each
    profiles    how a model is run and loaded, by name: the one table
    offer       which of them a worker can serve, and what is missing for the others
    placement   where the parts live, chosen from the card's free memory
    sizes       which pixels the model computes
    revision    what a folder of weights is called, and whether it is whole
    checks      requests that are refused before the card works
    pipeline    loading, part by part
    host        the host's memory: what is left, and what a placement takes of it
    lora, precision, placing    what a load does to the weights, and where it puts them
    exact       levers that make the same picture in less time or memory
    compiling   compiled blocks, and that nothing is compiled under a job
    repairs     what a loaded pipeline needs before it is right
    contract    what all this relies on in the libraries, checked at every start
    seen        what is made of pictures and texts before the card is taken
    call        the call of the pipeline that one edit is
    phases      asking whether an edit should go on
    faults      what the card's exceptions mean for an attempt
    engine      ``DiffusersEngine``, the only thing a worker needs

Importing this package loads no torch; ``engine`` and what it needs do.
"""

from __future__ import annotations
