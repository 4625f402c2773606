"""A server that runs as our child: started, watched, paused and stopped as one thing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from typing import ClassVar

from jobs.errors import Unavailable

LOOPBACK = "127.0.0.1"
#: A cold cache and a busy machine included; a healthy start takes a second or two.
START_TIMEOUT = timedelta(seconds=60)
#: What processes may take to vanish after SIGKILL.
_KILL_TIMEOUT = timedelta(seconds=10)
_POLL_SECONDS = 0.02
_MOVING = frozenset("RSD")  # running, sleeping, waiting for a disk: not stopped (proc(5))
_LOG_TAIL_LINES = 15

# Runs between us and the server, in the process that becomes the server.  It is not a
# preexec_fn, because that would run Python between fork and exec, which may deadlock as soon as
# we have threads.  Giving up an identity clears the death signal, so that comes first; the owner
# may have died before the signal was asked for, so that is looked at last.
_LAUNCHER = """
import ctypes, os, sys
owner, death_signal, uid, gid, *command = sys.argv[1:]
if int(uid) >= 0:
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(owner):
        sys.exit("whoever started this server is gone")
os.execv(command[0], command)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Whom a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What to run.  ``argv`` shows in ``ps``: no secret belongs there."""

    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)  #: beside PATH and a UTF-8 locale
    account: Account | None = None  #: ours, unless given

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(self.folder), **self.env}


class ChildServer(ABC):
    """One server on loopback, with its data in ``folder``.

    Started again after ``stop`` or ``kill``, it has the port, the credentials and the data it
    had.  It does not outlive the *thread* that started it (on Linux), even if that dies of
    SIGKILL.  Not meant for use by several threads at once.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: What a clean end may take before SIGKILL.
    stop_timeout: ClassVar[timedelta] = timedelta(seconds=10)
    #: What the kernel sends when whoever started the server dies.
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        #: A file descriptor that the server and all its children hold for as long as one lives.
        self.lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client connects, credentials included."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: timedelta = START_TIMEOUT) -> None:
        """Return when the server has answered a client that knows the credentials.

        Raises ``Unavailable`` with the tail of the server's log if it ends or stays silent; no
        process is left behind then.  A server that runs already is left alone.
        """
        self.launch()
        self.wait_until_ready(timeout)

    def launch(self) -> None:
        """The first half of ``start``, so that several servers can come up side by side."""
        if self.is_running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self._process = self._spawn(command)

    def wait_until_ready(self, timeout: timedelta = START_TIMEOUT) -> None:
        """The second half of ``start``."""
        reason = None
        for _ in polls(timeout):
            if not self.is_running:
                raise self._failure(f"ended with exit code {self._exit_code}")
            reason = self._why_not_ready()
            if reason is None:
                return
        self.kill()
        raise self._failure(f"gave no answer in {timeout.total_seconds():.0f} s ({reason})")

    def stop(self) -> None:
        """End it cleanly, by SIGKILL if that takes too long.  Nothing to do is no error."""
        self.begin_stop()
        self.wait_until_stopped()

    def begin_stop(self) -> None:
        """The first half of ``stop``, so that several servers can end side by side."""
        if self._process is not None and self.is_running:
            self.resume()
            self._process.send_signal(self.stop_signal)

    def wait_until_stopped(self) -> None:
        """The second half of ``stop``."""
        if self._process is not None:
            try:
                self._process.wait(self.stop_timeout.total_seconds())
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL, to the server and all of its children at once; returns when they are gone."""
        if self._process is None:
            return
        tree = self._freeze()
        for pid in tree:
            _send(pid, signal.SIGKILL)
        self._process.wait()
        for _ in polls(_KILL_TIMEOUT):
            if not any(_is_alive(pid) for pid in tree):
                break
        self._forget()

    def pause(self) -> None:
        """Freeze the server and its children: connections stay open and nothing answers.

        On return they stand still (on Linux); a signal alone may take a while on a busy machine.
        Resume before leaving: a paused server whose owner dies is ended, its children are not.
        """
        frozen = set(self._freeze())
        for _ in polls(_KILL_TIMEOUT):
            if not any(pid in frozen and state in _MOVING for pid, state, _ in _processes()):
                break

    def resume(self) -> None:
        """Undo ``pause``."""
        if self._process is not None and self.is_running:
            for pid in (self._process.pid, *_descendants(self._process.pid)):
                _send(pid, signal.SIGCONT)

    @abstractmethod
    def _prepare(self) -> Command:
        """Write configuration, make what is missing, say what to run."""

    @abstractmethod
    def _why_not_ready(self) -> str | None:
        """None once a client with the credentials gets an answer."""

    def _forget(self) -> None:
        """The process has gone; with it goes what it leaves behind."""
        self._process = None

    def _freeze(self) -> tuple[int, ...]:
        """Stop the whole tree, parents first, so that none has a child that we overlook."""
        if self._process is None or not self.is_running:
            return ()
        _send(self._process.pid, signal.SIGSTOP)
        frozen = [self._process.pid]
        while fresh := [pid for pid in _descendants(self._process.pid) if pid not in frozen]:
            for pid in fresh:
                _send(pid, signal.SIGSTOP)
            frozen += fresh
        return tuple(frozen)

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop the servers in order.
            return subprocess.Popen(  # noqa: S603 - our own binaries
                launched(command, self.death_signal),
                cwd=command.folder,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if self.lock is None else (self.lock,),
            )

    @property
    def _exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    def _failure(self, what: str) -> Unavailable:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        tail = "\n  ".join(lines) or "(empty)"
        return Unavailable(
            f"{self.name} on {LOOPBACK}:{self.port} {what}; mend what its log tells, then start "
            f"again.  {self.log} ends:\n  {tail}"
        )


def polls(timeout: timedelta) -> Iterator[None]:
    """Now, and again and again until the time is up."""
    deadline, never = monotonic() + timeout.total_seconds(), Event()
    yield
    while monotonic() < deadline:
        never.wait(_POLL_SECONDS)
        yield


def launched(command: Command, death_signal: signal.Signals) -> list[str]:
    """The command line that becomes ``command`` and dies with the thread that runs it."""
    account = command.account or Account(uid=-1, gid=-1)
    arguments = (os.getpid(), int(death_signal), account.uid, account.gid, *command.argv)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, *map(str, arguments)]


def run(command: Command) -> None:
    """Run to the end.  Raises ``Unavailable`` with what it printed if it fails."""
    done = subprocess.run(  # noqa: S603 - our own binaries
        launched(command, signal.SIGKILL),
        cwd=command.folder,
        env=command.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        program = Path(command.argv[0]).name
        raise Unavailable(f"{program} failed:\n{done.stdout.decode(errors='replace').strip()}")


def make_private(folder: Path, owner: Account | None = None) -> Path:
    """The folder, made if missing, open to ``owner`` (us by default) and nobody else."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
    return folder


def write_private(path: Path, text: str, owner: Account | None = None) -> Path:
    """Replace the file in one step; at no moment can anybody but ``owner`` read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    if owner is not None:
        os.chown(draft, owner.uid, owner.gid)
    return draft.replace(path)


def remove_tree(folder: Path) -> None:
    """Remove the folder and all it holds; a missing one is fine."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    """A zombie is dead: it waits only for whoever adopted it."""
    return any(found == pid and state != "Z" for found, state, _ in _processes())


def _descendants(root: int) -> list[int]:
    """By the kernel's table, as Postgres gives each of its children a session of its own."""
    found = {root}
    parents = {pid: parent for pid, _, parent in _processes()}
    while fresh := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= fresh
    return sorted(found - {root})


def _processes() -> Iterator[tuple[int, str, int]]:
    """Process id, state and parent of all that run.  Empty where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name, which may hold spaces and brackets) state parent ...
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            yield int(stat.parent.name), state, int(parent)
