"""The whole system: three servers, a worker per card, the API and Flower."""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Final, Self

from jobs.connect import connect
from jobs.errors import Unavailable
from jobs.settings import ProducerSettings
from standalone.ports import Ports
from standalone.process import LOOPBACK, polls, write_private
from standalone.programs import Program
from standalone.servers import Servers
from standalone.settings import TINY_MODEL, TINY_MODEL_DIR, child_environment

#: Loading a model included.
READY_TIMEOUT: Final = timedelta(minutes=5)
DRAIN_SECONDS: Final = 20
ENV_FILE: Final = "packshot.env"
_PLAIN: Final = re.compile(r"[\w@%+=:,./-]*", re.ASCII)  # what no reader takes for more than it is
FLOWER_USER: Final = "packshot"
TOKENIZERS: Final = ("tokenizer/tokenizer.json", "processor/tokenizer.json")
HEALTH: Final = {"API": "readyz", "Flower": "healthcheck"}  # paths that answer without a password


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start."""

    data_dir: Path
    cards: Sequence[str]
    engine: str = "diffusers"
    model: str = TINY_MODEL
    model_dir: Path = TINY_MODEL_DIR
    api_port: int | None = None
    flower_port: int | None = None
    postgres_port: int | None = None
    redis_port: int | None = None
    s3_port: int | None = None
    with_pages: bool = True  #: the API and Flower

    @property
    def tokenizer(self) -> Path | None:
        """The model's, where its folder has it in one file."""
        places = (self.model_dir.absolute() / one for one in TOKENIZERS)
        found = next((path for path in places if path.is_file()), None)
        return None if self.engine == "fake" else found


def env_file_text(settings: Mapping[str, str]) -> str:
    """As ``PACKSHOT_ENV_FILE``, systemd's ``EnvironmentFile`` and ``sh`` read it alike."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


class System:
    """Starts everything in order and stops it in reverse; keeps all state in the data folder.

    ``start`` raises ``BadSettings`` or ``Unavailable``, saying which part, where and why;
    nothing runs then.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.servers = Servers(
            plan.data_dir,
            postgres_port=plan.postgres_port,
            redis_port=plan.redis_port,
            s3_port=plan.s3_port,
        )
        self.workers: list[Program] = []
        self.pages: list[Program] = []
        self.urls: dict[str, str] = {}
        self.password = ""  #: Flower's; a new one each time

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def env_file(self) -> Path:
        return self.plan.data_dir.absolute() / ENV_FILE

    @property
    def settings(self) -> ProducerSettings:
        """How to reach the system from this process."""
        return ProducerSettings.load(self.env_file)

    def start(self) -> None:
        try:
            self.servers.start()
            self._write_environment()
            services = connect(self.settings)
            services.init()
            services.close()
            self._start_workers()
            if self.plan.with_pages:
                self._start_pages()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self, has_enough: Callable[[], bool] = lambda: False) -> None:
        """Return when every worker has loaded its model and every page answers.

        Or when the caller, who is asked again and again, ``has_enough`` of waiting.
        """
        services = connect(self.settings)
        try:
            self._wait(
                lambda: has_enough() or len(services.ledger.live_workers()) >= len(self.workers)
            )
            self._wait(lambda: has_enough() or all(map(_answers, self._health)))
        finally:
            services.close()

    def revive(self) -> list[str]:
        """Start again what has ended by itself; a line on each.  Raises ``Unavailable``."""
        lines = [f"{name} had ended and was started again" for name in self.servers.revive()]
        for program in (*self.workers, *self.pages):
            code = program.exit_code
            if code is not None:
                program.start()
                lines.append(
                    f"{program.name} ended with exit code {code} and was started again;"
                    f" see {program.log}"
                )
        return lines

    def stop(self) -> None:
        """Workers finish or give back what is in hand; the servers go last."""
        programs = (*self.workers, *self.pages)
        for program in programs:
            program.begin_stop()
        for program in programs:
            program.wait_until_stopped(DRAIN_SECONDS + 5)
        self.servers.stop()

    def _write_environment(self) -> None:
        """All that a client, the doctor or one more worker needs, in one private file for
        ``PACKSHOT_ENV_FILE``.
        """
        self._environment = {
            **self.servers.environment(),
            "PACKSHOT_MODEL": self._model,
            "PACKSHOT_MODEL_DIR": str(self.plan.model_dir.absolute()),
            "PACKSHOT_ENGINE": self.plan.engine,
        }
        if self.plan.tokenizer is not None:
            self._environment["PACKSHOT_TOKENIZER"] = str(self.plan.tokenizer)
        write_private(self.env_file, env_file_text(self._environment))

    @property
    def _model(self) -> str:
        return "fake" if self.plan.engine == "fake" else self.plan.model

    def _start_workers(self) -> None:
        extra = {"PACKSHOT_DRAIN_SECONDS": str(DRAIN_SECONDS)}
        for card in self.plan.cards:
            name = f"worker-{card.replace(':', '-')}"
            self.workers.append(self._program(name, ("-m", "worker", "run", "--card", card), extra))

    def _start_pages(self) -> None:
        ports = Ports(self.plan.data_dir / "ports.json")
        api = ports.claim("API", wanted=self.plan.api_port)
        flower = ports.claim("Flower", wanted=self.plan.flower_port)
        self.pages.append(self._program("api", ("-m", "producer", "serve", "--port", str(api)), {}))
        self.pages.append(
            self._program(
                "flower",
                ("-m", "producer", "flower", "--port", str(flower)),
                self._flower_environment(),
            )
        )
        self.urls = {"API": f"http://{LOOPBACK}:{api}", "Flower": f"http://{LOOPBACK}:{flower}"}

    def _flower_environment(self) -> dict[str, str]:
        """A password, as this machine may have other users; what it has seen outlives a stop."""
        self.password = token_hex(8)
        return {
            "PACKSHOT_FLOWER_AUTH": f"{FLOWER_USER}:{self.password}",
            "FLOWER_PERSISTENT": "true",
            "FLOWER_DB": str(self.plan.data_dir.absolute() / "flower"),
            "FLOWER_STATE_SAVE_INTERVAL": "60000",
        }

    def _program(self, name: str, arguments: tuple[str, ...], extra: dict[str, str]) -> Program:
        logs = self.plan.data_dir.absolute() / "logs"
        logs.mkdir(exist_ok=True)
        program = Program(
            name=name,
            argv=(sys.executable, *arguments),
            env=child_environment({**self._environment, **extra}),
            log=logs / f"{name}.log",
        )
        program.log.unlink(missing_ok=True)
        program.start()
        return program

    @property
    def _health(self) -> list[str]:
        return [f"{url}/{HEALTH[name]}" for name, url in self.urls.items()]

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        for _ in polls(READY_TIMEOUT):
            if is_ready():
                return
            for program in (*self.workers, *self.pages):
                program.check()
        raise Unavailable(f"not ready after {READY_TIMEOUT}: see {self.plan.data_dir}/logs")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback
            return bool(response.status < HTTPStatus.INTERNAL_SERVER_ERROR)
    except OSError:  # urllib's errors among them
        return False
