"""Cards that are named start from another release, whoever starts them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from envpack.node import canary, commands
from envpack.node.activate import activate
from envpack.node.canary import release_for
from envpack.node.cli import COMMANDS
from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.host import Host
from tests.envpack_depot import APP, TestDepot
from tests.unit.envpack.node.scenes import releases, unpacked, with_files


def test_the_canary_names_cards_and_the_others_start_from_current(
    host: Host, depot: TestDepot
) -> None:
    first, second = releases(host, depot, 2)
    with pytest.raises(NotThere, match="no release is active"):
        release_for(host.root, "0")
    activate(host, first)
    canary.set_to(host, second, ["0", "GPU-abc"])

    assert release_for(host.root, "0").name == second
    assert release_for(host.root, "7", "GPU-abc").name == second
    assert release_for(host.root, "1", "GPU-def").name == first
    assert canary.clear(host) == canary.Canary(second, ("0", "GPU-abc"))
    assert release_for(host.root, "0").name == first


def test_a_canary_needs_a_whole_release_and_a_card(host: Host, depot: TestDepot) -> None:
    (first,) = releases(host, depot, 1)

    with pytest.raises(NotThere):
        canary.set_to(host, "a" * 64, ["0"])
    with pytest.raises(InvalidManifest, match="at least one card"):
        canary.set_to(host, first, [])


def test_a_canary_file_that_cannot_be_read_is_said_and_cleared(host: Host) -> None:
    host.root.mkdir()
    (host.root / "canary.json").write_text("{")

    with pytest.raises(InvalidManifest, match="canary clear"):
        release_for(host.root, "0")
    assert canary.clear(host) is None
    assert canary.shown(host) is None


# ---- as it is started


@pytest.fixture
def two(host: Host, depot: TestDepot) -> tuple[str, str]:
    """The release that is current, and the one of which card 0 is the canary."""
    first, second = releases(host, depot, 2)
    activate(host, first)
    canary.set_to(host, second, ["0", "GPU-6a1c"])
    return first, second


def started(host: Host, *words: str, **environment: str) -> tuple[str, str]:
    """The release that a worker runs from, and what was said of it."""
    ended = subprocess.run(
        [str(host.root / "current/bin/packshot-worker"), *words],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        check=True,
        text=True,
    )
    (named,) = (one for one in ended.stdout.splitlines() if one.startswith("PACKSHOT_RELEASE="))
    return named.partition("=")[2], ended.stderr


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        ("run --card 0", {}),
        ("run --card=0 --log-json", {}),
        ("run --log-json --card GPU-6a1c", {"PACKSHOT_CARD": "7"}),
        ("run", {"PACKSHOT_CARD": "0"}),
    ],
)
def test_a_canarys_card_starts_from_the_canary(
    host: Host, two: tuple[str, str], words: str, environment: dict[str, str]
) -> None:
    release, said = started(host, *words.split(), **environment)

    assert release == two[1]
    assert f"starting from release {two[1]}" in said


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        ("run --card 1", {"PACKSHOT_CARD": "0"}),
        ("run --card=GPU-6a1", {}),
        ("run", {}),  # cpu:0
        ("run", {"PACKSHOT_CARD": "*"}),
        ("doctor", {"PACKSHOT_CARD": "0"}),  # only workers have a card
    ],
)
def test_every_other_card_starts_from_current(
    host: Host, two: tuple[str, str], words: str, environment: dict[str, str]
) -> None:
    assert started(host, *words.split(), **environment) == (two[0], "")


def test_what_is_started_is_all_the_canarys(host: Host, depot: TestDepot) -> None:
    first = unpacked(host, depot, depot.release(1)).release.digest
    other = depot.layer("app", with_files(APP, **{"settings.env": b"PACKSHOT_ENGINE=fake\n"}))
    second = unpacked(host, depot, depot.release(2, app=other)).release.digest
    activate(host, first)
    canary.set_to(host, second, ["0"])

    said = subprocess.run(
        [str(host.root / "current/bin/packshot-worker"), "run", "--card", "0"],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip

    assert said.startswith(
        f"{host.layer('env', host.release(second).env)}/bin/python -m worker run"
    )
    assert f"PYTHONPATH={host.layer('app', other)}\n" in said
    assert f"PACKSHOT_ENV_FILE={host.layer('app', other)}/settings.env\n" in said


def test_the_canarys_own_program_serves_its_card_and_no_canary_serves_all(
    host: Host, two: tuple[str, str]
) -> None:
    activate(host, two[1])
    assert started(host, "run", "--card", "0") == (two[1], "")

    activate(host, two[0], allow_older=True)
    canary.clear(host)
    assert started(host, "run", "--card", "0") == (two[0], "")


@pytest.mark.parametrize("text", ["", "{", '{"cards":["0"]}', '{"cards":["0"],"release":"x"}'])
def test_a_canary_that_cannot_be_started_stops_no_card(
    host: Host, two: tuple[str, str], text: str
) -> None:
    (host.root / "canary.json").write_text(text)

    release, said = started(host, "run", "--card", "0")

    assert release == two[0]
    assert not said or "canary clear" in said


# ---- as it is set and shown


def test_one_asks_from_which_folder_a_card_starts(
    host: Host, two: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for card, release in (("0", two[1]), ("1", two[0])):
        words = ["canary", "show", "--card", card, "--root", str(host.root)]
        assert commands.main("packshot-node", "", COMMANDS, words) == 0
        assert capsys.readouterr().out == f"{host.release_folder(release)}\n"


def test_what_is_set_or_cleared_says_what_brings_it_onto_workers_that_run(
    host: Host, two: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        at = ["--root", str(host.root)]
        assert commands.main("packshot-node", "", COMMANDS, ["canary", *words, *at]) == 0
        return capsys.readouterr().out

    then = "systemctl reload packshot-supervisor"
    answer = said("set", two[1], "--cards", "cpu:0")
    assert answer.startswith(f"cards cpu:0 start from {two[1][:12]}\n")
    assert then in answer
    assert then not in said("show")
    assert said("clear").startswith("canary cleared\n")
    assert said("clear") == "no canary\n"
    said("set", two[1], "--cards", "cpu:0")
    assert then in said("clear")


def set_canary(host: Host, cards: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, object]:
    words = ["canary", "set", "current", "--cards", cards, "--root", str(host.root), "--json"]
    code = commands.main("packshot-node", "", COMMANDS, words)
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script named ``nvidia-smi``, written by hand in that one's form."""
    rows = [f"{number}, GPU-{number}abc, NVIDIA H100, 580.95.05, 9.0" for number in (0, 1)]
    script = tmp_path / "programs" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n" + "".join(f"echo '{row}'\n" for row in rows))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")


@pytest.mark.parametrize("card", ["1", "GPU-1abc"])
@pytest.mark.usefixtures("two_cards")
def test_a_card_is_known_by_both_of_its_names(
    host: Host, two: tuple[str, str], card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = set_canary(host, f"{card},cpu:0", capsys)

    assert (code, found) == (
        0,
        {"canary": {"release": two[0], "cards": ["1", "GPU-1abc", "cpu:0"]}},
    )


@pytest.mark.parametrize(("card", "code"), [("2", 66), ("GPU-1", 66), ("gpu0", 66), ("", 65)])
@pytest.mark.usefixtures("two_cards")
def test_a_card_that_is_not_here_is_refused(
    host: Host,
    two: tuple[str, str],
    card: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set_canary(host, card, capsys)[0] == code
    assert canary.shown(host) == canary.Canary(two[1], ("0", "GPU-6a1c"))


def test_what_no_worker_is_told_is_no_card(host: Host, two: tuple[str, str]) -> None:
    with pytest.raises(InvalidManifest, match="an index, GPU-<uuid> or cpu:0"):
        canary.set_to(host, two[0], ["gpu0"])
