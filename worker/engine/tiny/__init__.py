"""The small checkpoint: drawn products to edit, and a random one of the real architecture.

    palette, outlines   colours, and the shapes of products and logos
    scenes, drawing     a product in a state; its picture and the exact target of an edit
    english, chinese    how an edit is worded, and what things are called
    phrases             instructions made of them
    samples             good-looking cases for a demonstration
    judge               whether a picture is the edit that was asked for
    tokenizer           a byte-level BPE in which the pipeline's fixed prefix has 64 tokens
    checkpoint          the folder: ``python -m worker.engine.tiny OUT_DIR``
    evaluate            the share of right edits of a checkpoint

Only the last three load torch; the rest is numpy and Pillow.
"""

from __future__ import annotations
