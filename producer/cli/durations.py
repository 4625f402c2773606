"""Durations as options of the command line."""

from __future__ import annotations

from datetime import timedelta

import click

from jobs.durations import brief, duration
from jobs.errors import InvalidRequest

__all__ = ["Duration", "brief", "duration"]


class Duration(click.ParamType[timedelta]):
    """The option type."""

    name = "duration"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration(str(value))
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)
