"""What an environment is to hold, as the repository says it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.model import spelt

#: The worker's, beside this package.
WORKER: Final = Path(__file__).parent.parent / "spec" / "worker.toml"
PLATFORMS: Final = ("linux-64", "linux-aarch64")
_SHARED: Final = frozenset({"name", "platform", "python", "channels", "conda", "wheels"})
_OWN: Final = frozenset({"conda", "wheels", "indexes", "cuda", "minimum_driver"})
_PLACES: Final = frozenset({"channels", "indexes"})
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One variant of a file of specs; what all variants share is in it."""

    name: str
    variant: str
    platform: str
    python: str  #: ``3.11``
    channels: tuple[str, ...]  #: names or URLs, the first one is preferred
    conda: tuple[str, ...]  #: match specs: ``openssl 3.*``
    wheels: tuple[str, ...]  #: requirements: ``torch>=2.11,<2.15``
    indexes: tuple[str, ...] = ()  #: beside PyPI
    cuda: str | None = None  #: of torch's build
    minimum_driver: str = ""  #: empty: runs without a GPU

    def __post_init__(self) -> None:
        for what, value, form in (
            ("name", self.name, _NAME),
            ("variant", self.variant, _NAME),
            ("python", self.python, _VERSION),
            ("cuda", self.cuda or "0", _VERSION),
            ("minimum_driver", self.minimum_driver or "0", _VERSION),
        ):
            if not form.fullmatch(value):
                raise InvalidManifest(f"{what}: not like {form.pattern}, got {value[:80]!r}")
        if self.platform not in PLATFORMS:
            raise InvalidManifest(f"platform: one of {', '.join(PLATFORMS)}, got {self.platform!r}")
        if not self.channels or not any(one.split()[0] == "python" for one in self.conda):
            raise InvalidManifest("channels, conda: at least one channel, and python among conda")

    @property
    def digest(self) -> str:
        """sha256 of what is asked for, but not of where it is looked for; a lock carries it."""
        asked = {key: value for key, value in asdict(self).items() if key not in _PLACES}
        return sha256(spelt(asked)).hexdigest()


def read(path: Path, variant: str) -> Spec:
    """Raises ``NotThere``, ``InvalidManifest``; both name the file."""
    try:
        whole = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as fault:
        raise NotThere(f"{path}: no such spec") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise InvalidManifest(f"{path}: {fault}") from fault
    variants = whole.pop("variants", {})
    if variant not in variants:
        known = ", ".join(sorted(variants)) or "none"
        raise NotThere(f"{path}: no variant {variant!r}; there are: {known}")
    try:
        return _spec(whole, variant, variants[variant])
    except InvalidManifest as fault:
        raise InvalidManifest(f"{path}: {fault}") from fault


def _spec(shared: Mapping[str, Any], variant: str, own: Mapping[str, Any]) -> Spec:
    for what, found, known in (("spec", shared, _SHARED), (variant, own, _OWN)):
        if unknown := sorted(set(found) - known):
            raise InvalidManifest(f"{what}: unknown: {', '.join(unknown)}")
    if missing := sorted(_SHARED - set(shared)):
        raise InvalidManifest(f"spec: not said: {', '.join(missing)}")
    return Spec(
        name=_text("name", shared["name"]),
        variant=variant,
        platform=_text("platform", shared["platform"]),
        python=_text("python", shared["python"]),
        channels=_texts("channels", shared["channels"]),
        conda=_texts("conda", shared["conda"]) + _texts("conda", own.get("conda", [])),
        wheels=_texts("wheels", shared["wheels"]) + _texts("wheels", own.get("wheels", [])),
        indexes=_texts("indexes", own.get("indexes", [])),
        cuda=_text("cuda", own["cuda"]) if "cuda" in own else None,
        minimum_driver=_text("minimum_driver", own.get("minimum_driver", "")),
    )


def _text(what: str, value: Any) -> str:  # noqa: ANN401 - any TOML
    if not isinstance(value, str):
        raise InvalidManifest(f"{what}: a text, got {value!r:.80}")
    return value


def _texts(what: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any TOML
    # A leading dash would be an option to pip or conda.
    good = isinstance(value, list) and all(
        isinstance(one, str) and one.strip() and not one.startswith("-") for one in value
    )
    if not good:
        raise InvalidManifest(f"{what}: a list of texts, got {value!r:.80}")
    return tuple(value)
