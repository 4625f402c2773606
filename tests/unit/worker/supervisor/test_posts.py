"""A card's post with real processes that stand in for workers: they start in no time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import pytest

from tests.services import eventually
from worker.exits import Exit
from worker.pages import ASK_TIMEOUT, serve, well
from worker.supervisor import watch as watch_module
from worker.supervisor.board import Board
from worker.supervisor.child import Program, free_port
from worker.supervisor.endings import Ending
from worker.supervisor.inventory import Slot
from worker.supervisor.nvml import Xid
from worker.supervisor.post import Patience, Post, State
from worker.supervisor.restarts import Limits
from worker.supervisor.roll import Roll
from worker.supervisor.supervisor import Supervisor
from worker.supervisor.watch import EVERY, Watch

SOON = timedelta(seconds=30)
PATHS = ("/livez", "/readyz", "/metrics")
CARD = "GPU-aaaa"
#: Shows what a worker shows; SIGTERM ends it.  What it is told decides what else it does.
WORKER = """\
#!{python} -SE
import http.server, os, signal, sys, threading
told = {told!r}
signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if told != "deaf" else None)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = b'{{"ok": true, "problems": []}}'
        if self.path == "/livez" and told == "unwell":
            answer = b'{{"ok": false, "problems": []}}'
        if self.path == "/metrics":
            lines = ["# TYPE packshot_cpus gauge"]
            lines += [f"packshot_cpus {{len(os.sched_getaffinity(0))}}"]
            lines += ["# TYPE packshot_threads gauge"]
            lines += ["packshot_threads " + os.environ["OMP_NUM_THREADS"]]
            answer = "\\n".join([*lines, ""]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
port = int(os.environ["PACKSHOT_HEALTH_PORT"])
assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa"
assert sys.argv[1:] == ["run", "--card", "GPU-aaaa"]
if told == "crashes":
    print("Segmentation fault, nearly", file=sys.stderr)
    sys.exit(1)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@dataclass
class Reported:
    """Who was reported dead, and why."""

    workers: list[tuple[UUID, str]] = field(default_factory=list)

    def report(self, worker_id: UUID, why: str) -> None:
        self.workers.append((worker_id, why))

    def settle(self) -> None:
        pass


@dataclass
class Host:
    """A supervisor of one card that is driven by hand."""

    folder: Path
    losses: Reported = field(default_factory=Reported)
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir()
        self.become("works")

    def become(self, told: str) -> None:
        program = self.folder / "bin" / "packshot-worker"
        program.write_text(WORKER.format(python=sys.executable, told=told))
        program.chmod(0o755)

    def start(self, **patience: float) -> Post:
        (cpu,) = [*os.sched_getaffinity(0)][:1]
        post = Post(
            slot=Slot(name=CARD, cpus=frozenset({cpu}), threads=3),
            program=Program(self.folder),
            losses=self.losses,
            limits=Limits(first_pause=0.01, failures=3),
            patience=Patience(**patience),
        )
        self.supervisor = Supervisor(posts=[post], losses=self.losses)
        return post

    def until(self, state: State) -> None:
        (post,) = self.supervisor.posts

        def reached() -> bool:
            self.supervisor.step()
            return post.state is state

        eventually(reached, within=SOON)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    for post in host.supervisor.posts:
        if post.child is not None:
            post.child.kill("the test is over")
            post.child.process.wait()


@contextmanager
def own_signals() -> Iterator[None]:
    """This process's handlers as they were."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(one) for one in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def metric(post: Post, name: str) -> Any:  # noqa: ANN401 - a number
    eventually(lambda: post.totals.now(name) > 0)
    return post.totals.now(name)


def test_a_worker_gets_its_card_its_processors_and_its_threads(host: Host) -> None:
    post = host.start()
    host.until(State.WORKING)

    assert metric(post, "packshot_cpus") == 1
    assert metric(post, "packshot_threads") == 3


def test_an_error_of_the_hardware_takes_the_card_out(host: Host) -> None:
    post = host.start()
    host.until(State.WORKING)

    host.supervisor.xids.put(Xid(card=CARD, number=79))
    host.until(State.OUT)

    status = Board(supervisor=host.supervisor).status()["cards"][0]
    assert status["why"] == "out: XID 79: the card has fallen off the bus"
    assert status["xids"] == {79: 1}
    assert (post.child, len(host.losses.workers)) == (None, 1)


def test_an_error_of_a_program_or_of_another_card_takes_none_out(host: Host) -> None:
    post = host.start()
    host.until(State.WORKING)
    before = post.child

    for xid in (Xid(card=CARD, number=31), Xid(card="GPU-bbbb", number=79)):
        host.supervisor.xids.put(xid)
    host.supervisor.step()

    assert (post.state, post.child, post.xids) == (State.WORKING, before, {31: 1})


def test_a_worker_that_does_not_become_ready_is_killed_and_its_end_reported(host: Host) -> None:
    host.become("silent")
    post = host.start(start=0.0)
    host.supervisor.step()
    assert post.child is not None
    worker_id = post.child.worker_id

    host.until(State.WAITING)

    assert host.losses.workers == [(worker_id, "not ready after 0 s")]
    assert post.ends == {Ending.KILLED: 1}


def test_a_worker_that_calls_itself_dead_for_long_is_killed(host: Host) -> None:
    host.become("unwell")
    post = host.start(drain=0.0, silence=1.0)
    host.until(State.WORKING)

    host.until(State.WAITING)

    assert post.ends == {Ending.KILLED: 1}


def test_a_worker_that_does_not_end_when_asked_is_killed_in_time(host: Host) -> None:
    host.become("deaf")
    post = host.start(drain=0.5)
    host.until(State.WORKING)

    host.supervisor.end()
    host.until(State.STOPPED)

    assert [why for _, why in host.losses.workers] == ["it did not end when asked to"]
    assert post.is_over


def test_what_a_crashed_worker_said_last_is_told(host: Host) -> None:
    host.become("crashes")
    post = host.start()

    host.until(State.OUT)

    assert post.why == (
        "3 failures in 600 s, the last one: it crashed (exit code 1): Segmentation fault, nearly"
    )
    assert post.starts == 3


def test_an_environment_that_is_gone_takes_the_card_out_and_says_so(host: Host) -> None:
    post = host.start()
    (host.folder / "bin" / "packshot-worker").unlink()

    host.until(State.OUT)

    assert "neither bin/packshot-worker nor bin/python" in post.why


def test_a_supervisor_whose_cards_are_all_out_ends_with_a_code_of_its_own(host: Host) -> None:
    host.become("crashes")
    host.start()

    with own_signals():
        assert host.supervisor.run() == Exit.FATAL


def test_a_supervisor_that_was_stopped_for_long_has_not_heard_silence_for_long() -> None:
    now = [0.0]
    watch = Watch(port=free_port(), take=lambda _page: None, clock=lambda: now[0])
    watch.look()

    now[0] += 3_600
    watch.look()

    assert 0 < watch.silent <= EVERY + ASK_TIMEOUT
    assert watch.problems == ["its process has not answered yet"]


def test_a_process_that_was_ready_and_is_silent_is_told_with_the_reason() -> None:
    watch = Watch(port=free_port(), take=lambda _page: None, ready_at=1.0)

    watch.look()

    (problem,) = watch.problems
    assert problem.endswith("/livez: Connection refused")


def test_what_a_process_showed_last_is_taken_before_its_numbers_are_summed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_module, "LAST_LOOK", SOON.total_seconds())
    order: list[str] = []
    has_read, go = Event(), Event()

    def take(_page: str) -> None:
        has_read.set()
        go.wait(SOON.total_seconds())
        order.append("taken")

    def stop() -> None:
        watch.stop()
        order.append("stopped")

    port = free_port()
    watch = Watch(port=port, take=take)
    shown = serve(dict.fromkeys(PATHS, lambda: well([])), port, setting="")
    with ThreadPoolExecutor(1) as pool, shown:
        watch.start()
        has_read.wait(SOON.total_seconds())
        stopping = pool.submit(stop)
        wait([stopping], timeout=0.2)  # one that does not wait for it is through by then
        go.set()
        stopping.result(SOON.total_seconds())
        shown.shutdown()

    assert order == ["taken", "stopped"]


def test_whatever_a_worker_shows_it_is_looked_at_again_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown: list[str] = []

    def take(page: str) -> None:
        shown.append(page)
        raise ValueError("no numbers")

    port = free_port()
    watch = Watch(port=port, take=take)
    with serve(dict.fromkeys(PATHS, lambda: well([])), port, setting="") as pages:
        watch.start()
        eventually(lambda: len(shown) > 2)
        watch.stop()
        pages.shutdown()

    assert [one.message for one in caplog.records] == ["watch_crashed"]


def test_a_reload_takes_no_card_while_another_one_is_down_by_itself(host: Host) -> None:
    first, second = host.start(), host.start()
    first.state = second.state = State.WORKING
    roll = Roll(posts=[first, second])
    roll.step()  # takes the first one, which has no process to wait for
    first.state, first.starts = State.WORKING, 1
    roll.step()

    first.state = State.WAITING  # it crashed
    roll.step()
    untouched = second.state
    first.state = State.WORKING
    roll.step()

    assert (untouched, second.state) == (State.WORKING, State.WAITING)


def test_a_card_that_is_out_keeps_none_from_the_new_environment(host: Host) -> None:
    broken, healthy = host.start(), host.start()
    broken.state, healthy.state = State.OUT, State.WORKING
    roll = Roll(posts=[broken, healthy])

    roll.step()

    assert (broken.state, healthy.state) == (State.OUT, State.WAITING)
