"""The alerts that production mounts ask for numbers that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from jobs.outage import Outage
from worker.attempt.outcomes import Verdict
from worker.settings import SUPERVISOR_PORT
from worker.supervisor.board import Board
from worker.supervisor.child import Program
from worker.supervisor.endings import Ending
from worker.supervisor.inventory import Slot
from worker.supervisor.post import Post, State
from worker.supervisor.supervisor import Supervisor
from worker.tally import Tally

PROMETHEUS = Path(__file__).parents[4] / "deploy" / "prometheus"
RULES = PROMETHEUS / "packshot.rules.yml"
CASES = Path(__file__).with_name("alerts.test.yml")
CARD = Slot(name="cpu:0", cpus=frozenset(), threads=1)


class Nobody:
    def report(self, *_: object) -> None: ...

    def settle(self) -> None: ...


def board() -> Board:
    """Of one card that was never started, with what a worker has shown."""
    post = Post(slot=CARD, program=Program(), losses=Nobody())
    post.ends[Ending.FATAL] += 1
    post.xids[79] += 1
    tally = Tally()
    tally.watch(lambda: False)
    tally.depend_on([Outage("ledger")])
    post.totals.take(tally.page().body.decode())
    return Board(supervisor=Supervisor(posts=[post], losses=Nobody()))


def test_every_number_that_an_alert_asks_for_is_shown() -> None:
    page = board().pages()["/metrics"]().body.decode()
    shown = {sample.name for one in text_string_to_metric_families(page) for sample in one.samples}
    (group,) = yaml.safe_load(RULES.read_text())["groups"]

    asked = {name for rule in group["rules"] for name in re.findall(r"packshot_\w+", rule["expr"])}

    assert len(asked) > 5
    assert asked - shown == set()


def test_every_word_that_an_alert_asks_for_is_one_of_ours() -> None:
    text = RULES.read_text()
    known = {*Verdict, *State, *Ending}

    words = re.findall(r'(?:state|reason|verdict)[!=]~?="?([\w|]+)"', text.replace('=~"', '=="'))

    assert words
    assert {word for one in words for word in one.split("|")} - {str(one) for one in known} == set()


def test_prometheus_fires_what_it_should_and_nothing_else(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool here (Debian's package prometheus has it)")
    cases = tmp_path / CASES.name
    cases.write_text(CASES.read_text().replace("[RULES]", f"[{RULES}]"))

    done = subprocess.run(
        [tool, "test", "rules", cases], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_what_is_fetched_is_what_a_supervisor_shows_and_what_the_alerts_ask_for() -> None:
    (job,) = yaml.safe_load((PROMETHEUS / "packshot.scrape.yml").read_text())["scrape_configs"]

    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{SUPERVISOR_PORT}"]}]
    assert f'up{{job="{job["job_name"]}"}}' in RULES.read_text()
