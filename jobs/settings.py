"""Where ledger, broker and bucket are: ``PACKSHOT_…`` from the environment, read once."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.checks import checked_name
from jobs.durations import duration
from jobs.errors import BadSettings, InvalidRequest
from jobs.model import DEFAULT_MODEL, DEFAULT_TENANT

PREFIX: Final = "PACKSHOT_"
#: Names a file of ``PACKSHOT_…=…`` lines; the environment itself goes before it.
ENV_FILE: Final = "PACKSHOT_ENV_FILE"


class Settings(BaseSettings):
    """Subclass it to add fields of a process; ``load`` reports all problems at once."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    redis_url: SecretStr = Field(description="redis://:PASSWORD@HOST:PORT/0")
    s3_url: SecretStr = Field(description="http://ACCESS:SECRET@HOST:PORT/BUCKET")
    log_json: bool = Field(default=False, description="of servers: one JSON object a line")

    @classmethod
    def load(cls, env_file: Path | None = None) -> Self:
        """From the environment and ``env_file`` (else the file that PACKSHOT_ENV_FILE names).

        Raises ``BadSettings`` naming every variable that is missing or wrong.
        """
        path = env_file or os.environ.get(ENV_FILE)  # noqa: TID251 - this is the settings module
        if path and not os.path.isfile(path):  # noqa: PTH113 - one look, no path arithmetic
            raise BadSettings(f"{ENV_FILE}: no file {path}")
        try:
            return cls(_env_file=path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise BadSettings(f"{ENV_FILE}: {path} cannot be read: {reason}") from None
        except ValidationError as error:
            problems = "; ".join(
                cls._problem(*item["loc"], why=item["msg"]) for item in error.errors()
            )
            raise BadSettings(
                f"{problems}. Set them, or name a file of them in {ENV_FILE}"
            ) from None

    @classmethod
    def _problem(cls, field: int | str, *_: int | str, why: str) -> str:
        name = f"{PREFIX}{str(field).upper()}"
        known = cls.model_fields.get(str(field))
        if why == "Field required" and known is not None:
            return f"{name} is not set ({known.description})"
        return f"{name}: {why.removeprefix('Value error, ')}"

    def redacted(self) -> dict[str, object]:
        """For the start-up line: URLs without their secrets."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _redacted(value) for name, value in values.items()}


def _name(value: str, info: ValidationInfo) -> str:
    try:
        return checked_name(str(info.field_name), value)
    except InvalidRequest as error:
        raise ValueError(str(error).partition(": ")[2]) from None


Name = Annotated[str, AfterValidator(_name)]


class ProducerSettings(Settings):
    """What a client, the CLI or the API needs."""

    tenant: Name = DEFAULT_TENANT
    model: Name = DEFAULT_MODEL
    profile: Name = "quality"
    tokenizer: Path | None = Field(
        default=None, description="the model's tokenizer.json, to count instructions with"
    )


def _span(value: object) -> object:
    """As people write it; what is none stays for the field to refuse."""
    if not isinstance(value, str):
        return value
    try:
        return duration(value)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


Span = Annotated[timedelta, BeforeValidator(_span)]
DAY: Final = timedelta(days=1)


class SweepSettings(Settings):
    """What a sweep keeps, and for how long: ``90d``, ``36h``.  Least spans are what a submit
    and an upload may take, many times over."""

    keep_jobs: Span = Field(
        default=90 * DAY, ge=DAY, description="ended jobs, with results, attempts and audit"
    )
    keep_inputs: Span = Field(default=30 * DAY, ge=DAY, description="inputs after their last use")
    orphan_age: Span = Field(
        default=DAY, ge=timedelta(hours=1), description="objects that no job announces"
    )


def _redacted(value: object) -> object:
    if not isinstance(value, SecretStr):
        return value
    try:
        parts = urlsplit(value.get_secret_value())
    except ValueError:
        return "***"
    # An unquoted '/', '?' or '#' in a password ends the host early, as URLs go.
    odd = "@" in f"{parts.path}{parts.query}{parts.fragment}"
    if odd or not parts.netloc:
        return "***"
    return f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}{parts.path}"
