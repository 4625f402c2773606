"""A small checkpoint of random weights: the architecture and layout of Qwen-Image-Edit-2509."""

from __future__ import annotations

from pathlib import Path

import torch

from worker.engine.tiny.networks import (
    make_autoencoder,
    make_pipeline,
    make_text_encoder,
    make_transformer,
)
from worker.engine.tiny.sizes import LEAST
from worker.engine.tiny.tokenizer import train_tokenizer


def write_checkpoint(folder: Path, *, seed: int = 0) -> None:
    """Write the folder, about 5 MB; equal seeds write equal weights.

    The caller's random state is left as it was.
    """
    tokenizer = train_tokenizer(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = make_pipeline(
            vae=make_autoencoder(LEAST),
            text_encoder=make_text_encoder(LEAST, tokenizer),
            tokenizer=tokenizer,
            transformer=make_transformer(LEAST),
        )
    pipeline.save_pretrained(folder)
