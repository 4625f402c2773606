"""What a host is checked against before an environment is unpacked on it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from envpack.node.drivers import TOO_OLD, Drivers, drivers_for, judged
from envpack.pack.collect import Collected
from envpack.pack.elf import glibc_needed
from envpack.pack.errors import NotPackable
from envpack.pack.inventory import environment_of, packages
from envpack.pack.process import run
from envpack.pack.sources import Source

#: Modules that a worker imports; of those, what an environment holds must load on every host.
IMPORTS: Final = (
    *("torch", "torchvision", "transformers", "diffusers", "accelerate", "safetensors", "PIL"),
    *("celery", "redis", "minio", "sqlalchemy", "psycopg", "pydantic_settings", "click", "rich"),
)
#: ``get_arch_list`` is empty without a card; what it reads is compiled in and is not.
_ARCHITECTURES: Final = (
    "import json, torch; print(json.dumps(torch._C._cuda_getArchFlags().split()))"
)
_ELF_NAMES: Final = re.compile(r".*\.so(\.[0-9.]+)?$|(.*/)?bin/[^/]+$")


def environment_facts(collected: Collected, kept: Iterable[Source]) -> dict[str, Any]:
    """See ``Manifest.facts``.

    Raises ``NotPackable`` for a platform that is not ours, and for another CUDA or driver than the
    spec says that it was built from.
    """
    sources = tuple(kept)
    cuda = _cuda(sources, collected.site_packages)
    drivers = drivers_for(cuda) if cuda else None
    asked = environment_of(collected.prefix).get("spec", {})
    _check_cuda(asked, cuda)
    return {
        "platform": _platform(collected),
        "python": collected.python,
        "glibc": _glibc(sources),
        "cuda": cuda,
        "minimum_driver": _minimum_driver(asked, drivers) if drivers else "",
        "recommended_driver": drivers.recommended if drivers else "",
        "architectures": _architectures(collected.interpreter) if cuda else [],
        "packages": package_facts(collected.prefix),
        "imports": _imports(sources, collected.site_packages),
    }


def package_facts(prefix: Path) -> list[dict[str, str]]:
    """By which a layer's manifest knows the environment that it was packed from."""
    return [
        {"kind": one.kind, "name": one.name, "version": one.version}
        | ({"python": one.python} if one.python else {})
        for one in packages(prefix)
    ]


def _platform(collected: Collected) -> str:
    """conda's name of it, as ``linux-64``."""
    subdirs = {str(package.get("subdir")) for package in collected.packages} - {"noarch"}
    if len(subdirs) != 1 or not next(iter(subdirs)).startswith("linux-"):
        found = ", ".join(sorted(subdirs)) or "none"
        raise NotPackable(f"{collected.prefix}: packages for one Linux platform, found: {found}")
    return subdirs.pop()


def _glibc(sources: Iterable[Source]) -> str:
    """The oldest that serves everything that is packed."""
    found = (
        glibc_needed(source.content)
        for source in sources
        if isinstance(source.content, Path) and _ELF_NAMES.match(source.path)
    )
    return ".".join(map(str, max(found, default=())))


def _cuda(sources: Iterable[Source], site_packages: str) -> str:
    """The toolkit of torch's build, as its ``version.py`` says; empty: there is none."""
    path = f"{site_packages}/torch/version.py"
    source = next((one for one in sources if one.path == path), None)
    if source is None:
        return ""
    for statement in ast.parse(source.read()).body:
        name, value = _assignment(statement)
        if name == "cuda" and isinstance(value, ast.Constant):
            return str(value.value or "")
    raise NotPackable(f"{path}: does not say which CUDA it was built with")


def _check_cuda(asked: Mapping[str, Any], found: str) -> None:
    """``asked``: the spec that was built; empty for an environment that others have made."""
    wanted = asked.get("cuda") or ""
    if asked and wanted != found:
        name = f"spec {asked['name']}, variant {asked['variant']}"
        raise NotPackable(
            f"{name}: asks for {_spelt(wanted)}, and torch is built for {_spelt(found)}: pip takes"
            " the newest build of all indexes; name the one that is meant, and lock it again"
        )


def _spelt(cuda: str) -> str:
    return f"CUDA {cuda}" if cuda else "the CPU"


def _minimum_driver(asked: Mapping[str, Any], drivers: Drivers) -> str:
    """What the spec asks for, which may be more than the toolkit does."""
    wanted = str(asked.get("minimum_driver") or drivers.minimum)
    if judged(wanted, drivers.minimum, drivers.minimum) == TOO_OLD:
        raise NotPackable(
            f"spec {asked['name']}, variant {asked['variant']}: minimum_driver {wanted} does not"
            f" start CUDA {drivers.cuda}, which needs {drivers.minimum}"
        )
    return wanted


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return "", None
    return (target.id if isinstance(target, ast.Name) else ""), statement.value


def _architectures(interpreter: Path) -> list[str]:
    """Of the kernels in torch, as ``sm_90``: asked of torch itself, which needs no card for it."""
    found: list[str] = json.loads(run([interpreter, "-I", "-B", "-c", _ARCHITECTURES]).stdout)
    return found


def _imports(sources: Iterable[Source], site_packages: str) -> list[str]:
    there = {source.path for source in sources if source.path.startswith(site_packages)}
    return [name for name in IMPORTS if f"{site_packages}/{name}/__init__.py" in there]
