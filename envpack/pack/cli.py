"""All commands of the build machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from envpack.node.commands import Command
from envpack.pack import packing, supply_cli

COMMANDS: Final[Mapping[str, Command]] = {**packing.COMMANDS, **supply_cli.COMMANDS}
