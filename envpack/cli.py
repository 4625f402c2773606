"""``packshot-env``: the commands of both sides, packing and hosts."""

from __future__ import annotations

import sys

from envpack.node import cli as on_hosts
from envpack.node import commands
from envpack.pack import cli as where_it_is_built
from envpack.pack import node_file

ABOUT = "Pack an environment once; verify, unpack, check and activate it on every host."
COMMANDS = {**where_it_is_built.COMMANDS, **node_file.COMMANDS, **on_hosts.COMMANDS}


def main() -> None:
    sys.exit(commands.main("packshot-env", ABOUT, COMMANDS, sys.argv[1:]))
