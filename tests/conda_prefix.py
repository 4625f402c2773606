"""A real conda prefix without a network: a local channel, solved and linked by rattler.

The channel holds a real ``python``, made from the interpreter that runs the tests so that nothing
of the original is loaded any more, ``pip`` (noarch), and two packages that name their prefix: as
text and as bytes.  Wheels are written by hand and installed by the prefix's own pip.
"""

from __future__ import annotations

import asyncio
import base64
import compileall
import io
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

#: What stands in a package for the prefix that it is linked into: 255 characters, as conda's.
PLACEHOLDER: Final = ("/opt/" + "_h_env_placehold_" * 20)[:255]
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES: Final = f"lib/{PYTHON}/site-packages"
VERSION: Final = ".".join(map(str, sys.version_info[:3]))
#: Of the standard library: what no test imports.
LEFT_OUT: Final = (
    *("site-packages", "__pycache__", "test", "tests", "tkinter", "turtledemo", "pydoc_data"),
    *("config-*", "_tkinter*", "_test*", "xxlimited*", "*.a", "lib2to3"),
)


@dataclass(frozen=True)
class CondaPackage:
    """One package of the channel, from the files in ``stage``."""

    name: str
    version: str
    stage: Path
    subdir: str = "linux-64"
    build: str = "0"
    depends: tuple[str, ...] = ()
    #: path → ``text`` or ``binary``: files that hold ``PLACEHOLDER``
    prefixed: Mapping[str, str] | None = None
    entry_points: tuple[str, ...] | None = None  #: makes it ``noarch: python``
    extra: Mapping[str, Any] | None = None

    def write(self, channel: Path) -> Path:
        folder = channel / self.subdir
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"{self.name}-{self.version}-{self.build}.tar.bz2"
        paths = sorted(one for one in self.stage.rglob("*") if one.is_symlink() or one.is_file())
        with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
            for name, value in self._info(paths).items():
                _add(tar, tarfile.TarInfo(f"info/{name}"), json.dumps(value, indent=1).encode())
            for path in paths:
                member = tar.gettarinfo(path, path.relative_to(self.stage).as_posix())
                _add(tar, member, path.read_bytes() if member.isreg() else b"")
        return archive

    def _info(self, paths: Sequence[Path]) -> dict[str, Any]:
        index = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": list(self.depends),
            "subdir": self.subdir,
            "license": "Apache-2.0",
            "timestamp": 1_700_000_000_000,
        }
        if self.subdir == "noarch":
            index["noarch"] = "generic" if self.entry_points is None else "python"
        entries = {"paths": [self._entry(path) for path in paths], "paths_version": 1}
        info: dict[str, Any] = {"about.json": {}, "index.json": index | dict(self.extra or {})}
        info["paths.json"] = entries
        if self.entry_points is not None:
            noarch = {"type": "python", "entry_points": list(self.entry_points)}
            info["link.json"] = {"noarch": noarch, "package_metadata_version": 1}
        return info

    def _entry(self, path: Path) -> dict[str, Any]:
        name, data = path.relative_to(self.stage).as_posix(), path.read_bytes()
        entry = {
            "_path": name,
            "path_type": "softlink" if path.is_symlink() else "hardlink",
            "sha256": sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        mode = (self.prefixed or {}).get(name)
        return entry | ({"file_mode": mode, "prefix_placeholder": PLACEHOLDER} if mode else {})


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, data: bytes) -> None:
    """With owner, time and hard links left out: the same package every time."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    if not member.issym():
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", len(data)
    tar.addfile(member, io.BytesIO(data))


def make_channel(channel: Path, work: Path) -> Path:
    """``channel``: python, pip, demo-conf and demo-blob, indexed."""
    from rattler.index import index_fs  # noqa: PLC0415 - heavy, and only here

    packages = (
        python_package(work / "python"),
        pip_package(work / "pip"),
        conf_package(work / "conf"),
        blob_package(work / "blob"),
    )
    for package in packages:
        package.write(channel)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))
    return channel


def python_package(stage: Path) -> CondaPackage:
    """The running interpreter, finding its own libraries relative to itself."""
    base = Path(sys.base_prefix)
    (stage / "bin").mkdir(parents=True)
    shutil.copy2(base / "bin" / PYTHON, stage / "bin")
    for name in ("python", "python3"):
        (stage / "bin" / name).symlink_to(PYTHON)
    shutil.copytree(
        base / "lib" / PYTHON,
        stage / "lib" / PYTHON,
        ignore=shutil.ignore_patterns(*LEFT_OUT),
    )
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy2(library, stage / "lib", follow_symlinks=False)
    (stage / SITE_PACKAGES).mkdir()
    (stage / SITE_PACKAGES / "README.txt").write_text("packages\n")
    _strip(stage)
    _forget_origin(stage, base)
    prefixed = _with_placeholder(stage, base)
    _byte_compile(stage, prefixed)
    return CondaPackage(
        name="python",
        version=VERSION,
        stage=stage,
        build="0_cpython",
        prefixed=prefixed,
        extra={"python_site_packages_path": SITE_PACKAGES},
    )


def _strip(stage: Path) -> None:
    """Without debug symbols where binutils are at hand: a third of the size, and of the time."""
    strip = shutil.which("strip")
    if strip:
        libraries = [path for path in stage.rglob("*.so*") if not path.is_symlink()]
        subprocess.run([strip, "--strip-unneeded", *libraries], check=True)


def _forget_origin(stage: Path, base: Path) -> None:
    """A shared build names its folder as RUNPATH: unedited it would load the original's library."""
    _set_runpath(stage / "bin" / PYTHON, base, "$ORIGIN/../lib")
    for library in (stage / "lib").glob("libpython*.so*"):
        if not library.is_symlink():
            _set_runpath(library, base, "$ORIGIN")
    for module in (stage / "lib" / PYTHON / "lib-dynload").glob("*.so"):
        _set_runpath(module, base, "$ORIGIN/../..")


def _set_runpath(elf: Path, base: Path, new: str) -> None:
    old = f"{base}/lib\0".encode()
    if len(new) < len(old):
        elf.write_bytes(elf.read_bytes().replace(old, new.encode().ljust(len(old), b"\0")))


def _with_placeholder(stage: Path, base: Path) -> dict[str, str]:
    found = {}
    for path in stage.rglob("*"):
        if path.is_file() and not path.is_symlink() and str(base).encode() in path.read_bytes():
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
            path.write_text(text.replace(str(base), PLACEHOLDER), "utf-8")
            found[path.relative_to(stage).as_posix()] = "text"
    return found


def _byte_compile(stage: Path, prefixed: Mapping[str, str]) -> None:
    compileall.compile_dir(
        stage / "lib" / PYTHON,
        quiet=2,
        stripdir=str(stage),
        prependdir="/",
        workers=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    for name in prefixed:
        for stale in (stage / name).parent.glob(f"__pycache__/{Path(name).stem}.*.pyc"):
            stale.unlink()


def pip_package(stage: Path) -> CondaPackage:
    """The pip that Python brings, as conda manages it."""
    bundled = Path(sys.base_prefix) / "lib" / PYTHON / "ensurepip" / "_bundled"
    wheel = next(bundled.glob("pip-*.whl"))
    with zipfile.ZipFile(wheel) as zipped:
        zipped.extractall(stage / "site-packages")
    return CondaPackage(
        name="pip",
        version=wheel.name.split("-")[1],
        stage=stage,
        subdir="noarch",
        build="py_0",
        depends=("python",),
        entry_points=("pip = pip._internal.cli.main:main",),
    )


def conf_package(stage: Path, version: str = "1.0") -> CondaPackage:
    """A text file and a script that name their prefix."""
    (stage / "etc").mkdir(parents=True)
    (stage / "bin").mkdir()
    (stage / "etc" / "demo.conf").write_text(f"home = {PLACEHOLDER}/share\n")
    script = stage / "bin" / "demo-conf"
    script.write_text(f"#!{PLACEHOLDER}/bin/python\nimport sys\nprint(sys.prefix)\n")
    script.chmod(0o775)
    return CondaPackage(
        name="demo-conf",
        version=version,
        stage=stage,
        subdir="noarch",
        depends=("python",),
        prefixed={"etc/demo.conf": "text", "bin/demo-conf": "text"},
    )


def blob_package(stage: Path) -> CondaPackage:
    """Bytes that name their prefix as a C string; a hard link and a link beside them."""
    (stage / "share").mkdir(parents=True)
    blob = stage / "share" / "demo.bin"
    blob.write_bytes(b"\x7fDEMO\0" + f"{PLACEHOLDER}/share\0".encode() + bytes(range(256)))
    (stage / "share" / "demo.lnk").symlink_to("demo.bin")
    return CondaPackage(
        name="demo-blob", version="1.0", stage=stage, prefixed={"share/demo.bin": "binary"}
    )


def make_prefix(channel: Path, prefix: Path, cache: Path) -> Path:
    """Solve and link everything that the channel has; ``cache`` must outlive the packing."""
    import rattler  # noqa: PLC0415 - heavy, and only here

    async def link() -> None:
        specs = [f"python =={VERSION}", "pip", "demo-conf", "demo-blob"]
        records = await rattler.solve([channel.as_uri()], specs, platforms=["linux-64", "noarch"])
        await rattler.install(records, target_prefix=prefix, cache_dir=cache, show_progress=False)

    asyncio.run(link())
    return prefix


def write_wheel(
    wheelhouse: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """A pure wheel of these files; ``scripts``: command → ``module:function``."""
    wheelhouse.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    tag = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": tag.encode(),
    }
    if scripts:
        lines = [f"{command} = {target}\n" for command, target in scripts.items()]
        members[f"{info}/entry_points.txt"] = "".join(["[console_scripts]\n", *lines]).encode()
    rows = [f"{path},{_record_hash(data)},{len(data)}\n" for path, data in members.items()]
    members[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    wheel = wheelhouse / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as zipped:
        for path, data in members.items():
            zipped.writestr(zipfile.ZipInfo(path), data)
    return wheel


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def pip_install(prefix: Path, *arguments: str) -> None:
    """Offline, into the prefix; pip compiles what it installs, as it does for everybody."""
    options = ("--no-index", "--no-deps", "--quiet", "--disable-pip-version-check")
    command = [str(prefix / "bin" / "python"), "-m", "pip", "install", *options, *arguments]
    subprocess.run(
        [*command, "--root-user-action=ignore"],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": os.devnull},
    )
