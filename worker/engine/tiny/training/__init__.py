"""Training of the small checkpoint: ``python -m worker.engine.tiny.training STAGE``.

    learner      parameters, optimisers, averages; a step, and the state on disk
    run          steps until an amount of samples or a time is reached, saved on the way
    progress     what is written to the log
    stills       the autoencoder for single pictures, as flat convolutions
    pictures     what the autoencoder learns from
    autoencoder  its lesson
    families     the pictures of one scene in twelve states, and the edits between them
    shards       their latents and instructions, computed once and kept on disk
    reading      the text encoder, the fixed prefix computed once for a batch
    predicting   the transformer, without what no loss depends on
    editing      the lesson of both: from noise and source to the target
    trying       held-out cases edited in batches
    editor       their training, and the folder that the engine loads
    stages       all of it in order

State lies in one folder, which no commit holds.  A run may end at any moment, even by
SIGKILL: the next one goes on from the last state that was saved whole.  All randomness of a
step comes from the seed and the step's number, so a resumed run sees what an unbroken one
would have seen.
"""

from __future__ import annotations
