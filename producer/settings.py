"""What ``packshot flower`` is told: ``PACKSHOT_…``, read once."""

from __future__ import annotations

from typing import Final

from pydantic import Field, SecretStr, field_validator

from jobs.settings import ProducerSettings

LOGINS: Final = "USER:PASSWORD, several by comma, in ASCII"


class FlowerSettings(ProducerSettings):
    flower_auth: SecretStr | None = Field(default=None, description=LOGINS)

    @field_validator("flower_auth")
    @classmethod
    def _are_logins(cls, auth: SecretStr | None) -> SecretStr | None:
        """With others Flower would let nobody in, or answer with a traceback."""
        if auth is not None and not all(map(_is_login, auth.get_secret_value().split(","))):
            raise ValueError(f"not of the form {LOGINS}")
        return auth


def _is_login(text: str) -> bool:
    user, _, password = text.partition(":")
    return bool(user and password and text.isascii())
