"""From a worker's settings to an engine that edits, or to one line that says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.settings import TINY_MODEL, TINY_MODEL_DIR, child_environment

pytestmark = pytest.mark.engine

SETTINGS = {
    "PACKSHOT_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c",
    "PACKSHOT_REDIS_URL": "redis://127.0.0.1:1/0",
    "PACKSHOT_S3_URL": "http://a:b@127.0.0.1:1/c",
    "PACKSHOT_MODEL": TINY_MODEL,
    "PACKSHOT_MODEL_DIR": str(TINY_MODEL_DIR),
}

#: In a process of its own: a card is chosen before torch is imported.
LOAD = """
from worker.bootstrap import load_engine
from worker.engine.base import edited
from worker.settings import WorkerSettings
from jobs.errors import BadSettings
try:
    load_engine(WorkerSettings.load())
except BadSettings as error:
    print(error)
"""
EDIT = """
import json
import sys
from PIL import Image
from jobs.model import EditRequest
from worker.bootstrap import load_engine
from worker.engine.base import edited
from worker.settings import WorkerSettings
engine = load_engine(WorkerSettings.load())
request = EditRequest(
    pictures=("0" * 64,),
    instruction="make the background white",
    model=engine.model.name,
    profile="fast",
)
steps = []
picture = edited(
    engine,
    [Image.new("RGB", (200, 100), "navy")],
    request,
    seed=1,
    on_step=lambda done, total: steps.append([done, total]),
)
print(json.dumps({
    "card": engine.card,
    "profiles": engine.model.profiles,
    "threads": sys.modules["torch"].get_num_threads(),
    "last": steps[-1],
    "size": picture.size,
}))
"""


def run(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment(SETTINGS | settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_card_that_is_not_there_is_named_in_one_line() -> None:
    done = run(LOAD, PACKSHOT_CARD="99")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("card 99: ")
    assert done.stdout.count("\n") == 1


def test_settings_make_an_engine_that_edits(tmp_path: Path) -> None:
    done = run(
        EDIT,
        PACKSHOT_CARD="cpu:3",
        PACKSHOT_THREADS="1",
        PACKSHOT_PROFILES="fast, quality",
        PACKSHOT_PLACEMENT="model-offload",
        PACKSHOT_DIGESTS_DIR=str(tmp_path / "digests"),
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "card": "cpu:3",
        "profiles": ["quality", "fast"],
        "threads": 1,
        "last": [4, 4],
        "size": [192, 96],
    }
    assert len(list((tmp_path / "digests").glob("weights-*.json"))) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"PACKSHOT_PROFILES": "best"}, "PACKSHOT_PROFILES: "),
        ({"PACKSHOT_MODEL": "flux.1-kontext-dev"}, "put the model's name into PACKSHOT_LICENCES"),
        (
            {"PACKSHOT_MODEL": "flux.1-kontext-dev", "PACKSHOT_LICENCES": "flux.1-kontext-dev"},
            "is not a FluxKontextPipeline",
        ),
    ],
)
def test_each_setting_of_the_engine_reaches_it(settings: dict[str, str], told: str) -> None:
    done = run(LOAD, PACKSHOT_CARD="cpu:0", **settings)

    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_what_the_settings_say_of_loading_reaches_the_engine() -> None:
    program = """
from worker import bootstrap
from worker.settings import WorkerSettings
bootstrap.pin = lambda _card: None  # torch is imported below
from worker.engine.diffusers.engine import DiffusersEngine
DiffusersEngine.load = lambda _folder, **choices: print(choices["options"])
bootstrap.load_engine(WorkerSettings.load())
"""
    said = {"PROFILES": "fast", "PLACEMENT": "resident", "LICENCES": "a,b", "COMPILED": "false"}
    done = run(program, **{f"PACKSHOT_{name}": value for name, value in said.items()})

    assert done.returncode == 0, done.stderr
    for expected in (
        "profiles=('fast',)",
        "placement='resident'",
        "licences=('a', 'b')",
        "compiled=False",
    ):
        assert expected in done.stdout
