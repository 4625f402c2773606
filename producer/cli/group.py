"""The group of all commands: plug-ins that load when called, and the edge where errors end."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click

from jobs.errors import BadSettings, InvalidRequest, JobsError
from producer.cli.app import App
from producer.cli.codes import FAULT, INTERRUPTED, READ_NO_MORE
from producer.cli.exits import tell, tell_fault

GROUP: Final = "packshot.commands"


@dataclass(frozen=True, slots=True)
class _About:
    """What must be known of a plug-in before it is imported."""

    help: str
    extra: str


#: Those of other packages of ours; a stranger's is listed with its module.
ABOUT: Final = {
    "up": _About("Run the whole system on this machine.", "standalone"),
    "demo": _About("Run the whole system and edit sample pictures with it.", "standalone"),
    "flower": _About("Watch the workers in a browser.", "flower"),
    "serve": _About("Serve the HTTP API.", "api"),
}


class Plugin(click.Command):
    """Stands for another package's command until that is called."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        about = ABOUT.get(entry.name)
        super().__init__(entry.name, help=about.help if about else f"From {entry.module}.")

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's own signature
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent=parent, **extra)

    def load(self) -> click.Command:
        """Raises ``BadSettings``, naming the extra that is not installed."""
        try:
            loaded: click.Command = self._entry.load()
        except (ImportError, AttributeError) as fault:
            raise self.lacks(fault) from fault
        return loaded

    def lacks(self, fault: Exception) -> BadSettings:
        about = ABOUT.get(str(self.name))
        remedy = f": pip install 'packshot[{about.extra}]'" if about else ""
        return BadSettings(f"'packshot {self.name}' cannot be loaded ({fault}){remedy}")


class Commands(click.Group):
    """Our own commands first, in the order of the file, then the plug-ins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*self.commands, *(one.name for one in _plugins() if one.name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        return own or next((Plugin(one) for one in _plugins() if one.name == cmd_name), None)

    def invoke(self, ctx: click.Context) -> None:
        """Every error becomes one line and an exit code here; tracebacks only when debugging."""
        app, words = ctx.ensure_object(App), [*ctx.args]
        try:
            super().invoke(ctx)
        except click.UsageError as error:
            # Where an option is unknown, click looks at none of the others.
            if not (app.as_json or "--json" in words):
                raise
            tell(InvalidRequest(error.format_message()), as_json=True)
            code = error.exit_code
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("packshot: interrupted", err=True)
            code = INTERRUPTED
        except JobsError as error:
            tell(error, as_json=app.as_json)
            code = error.exit_code
        except BrokenPipeError:
            code = _read_no_more()
        except Exception as fault:  # noqa: BLE001 - one of the two edges where anything may arrive
            code = self._fault(ctx, app, fault)
        else:
            return
        ctx.exit(code)

    def _fault(self, ctx: click.Context, app: App, fault: Exception) -> int:
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        if isinstance(fault, ModuleNotFoundError) and isinstance(command, Plugin):
            error = command.lacks(fault)
            tell(error, as_json=app.as_json)
            return error.exit_code
        tell_fault(fault, debug=app.debug)
        return FAULT


def _read_no_more() -> int:
    """Whoever read our answer has had enough: the rest of it goes nowhere, and that is no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READ_NO_MORE


def quieten(*, debug: bool) -> None:
    """Log lines are for services; here they would run into bars and tables."""
    if debug:
        from jobs import log  # noqa: PLC0415 - only if asked for

        log.set_up(as_json=False, level=logging.DEBUG, stream=sys.stderr)
    else:
        logging.getLogger().addHandler(logging.NullHandler())


def _plugins() -> Iterator[EntryPoint]:
    return iter(entry_points(group=GROUP))
