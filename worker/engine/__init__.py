"""A loaded model on one card, behind one port: ``base.Engine``."""

from __future__ import annotations

import logging
from typing import Final

#: Who has something to say of torchao on each import, whatever is served: that diffusers looks
#: for names that newer ones lack (none that is used here), and a hint to torchao's makers.
_CHATTER: Final = (
    "diffusers.quantizers.torchao.torchao_quantizer",
    "torch.utils._pytree",
)
for _name in _CHATTER:
    logging.getLogger(_name).setLevel(logging.ERROR)
