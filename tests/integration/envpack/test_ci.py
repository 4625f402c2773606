"""The pipelines: read by their own linters, and run with a packshot-env that only listens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter_groovy
from tree_sitter import Language, Parser

from envpack.cli import COMMANDS
from envpack.node.cli import COMMANDS as ON_HOSTS

CI = Path(__file__).parents[3] / "deploy" / "ci"
BIN = Path(sys.executable).parent
STEPS = ["build", "pack", "scan", "sign", "smoke", "publish"]
ENV, APP, MODEL, RELEASE = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
#: Takes every word as the real one does, and does nothing.
LISTENER = """#!{python}
import json, sys
from envpack.cli import ABOUT, COMMANDS
from envpack.node.commands import Answer, main

DIGESTS = {digests}

def listening(words):
    def run(arguments):
        with open({record!r}, "a") as record:
            said = {{key: str(value) for key, value in vars(arguments).items()}}
            record.write(json.dumps([words, said]) + "\\n")
        return Answer("", {{"digest": DIGESTS.get(words), "name": "2026.11.22-7"}}, {code})
    return run

table = {{words: command._replace(run=listening(words)) for words, command in COMMANDS.items()}}
sys.exit(main("packshot-env", ABOUT, table, sys.argv[1:]))
"""
CONTAINERS = '#!/bin/sh\nprintf "%s\\n" "$@" >"{record}"\n'


def linted(program: str, *words: str | Path) -> str:
    ended = subprocess.run(
        [BIN / program, *words], capture_output=True, text=True, check=False, cwd=CI
    )
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


# ---- the files


def test_the_workflow_is_one_by_githubs_schema() -> None:
    assert not linted(
        "check-jsonschema", "--builtin-schema", "vendor.github-workflows", "github.yml"
    )


def test_the_workflow_gives_nothing_away(tmp_path: Path) -> None:
    # zizmor knows a workflow by its folder
    place = tmp_path / ".github" / "workflows" / "release.yml"
    place.parent.mkdir(parents=True)
    shutil.copy(CI / "github.yml", place)

    assert not linted("zizmor", "--offline", "--quiet", place)


@pytest.mark.skipif(not shutil.which("actionlint"), reason="no actionlint on the PATH")
def test_the_workflow_passes_actionlint() -> None:
    words = ["actionlint", "-no-color", str(CI / "github.yml")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout


def test_the_script_passes_shellcheck() -> None:
    assert not linted("shellcheck", "release.sh")


def test_the_jenkinsfile_is_groovy_and_a_declarative_pipeline() -> None:
    text = (CI / "Jenkinsfile").read_bytes()

    assert is_groovy(text)
    assert not is_groovy(text.replace(b"}", b"", 1))
    for section in ("agent", "options", "stages", "post"):
        assert re.search(rf"(?m)^  {section}( |\b).*\{{", text.decode()), section


def is_groovy(text: bytes) -> bool:
    return not Parser(Language(tree_sitter_groovy.language())).parse(text).root_node.has_error


@pytest.mark.parametrize("name", ["github.yml", "Jenkinsfile"])
def test_every_pipeline_takes_every_step_in_order(name: str) -> None:
    assert re.findall(r"deploy/ci/release\.sh (\w+)", (CI / name).read_text()) == STEPS


# ---- the script, run


class Builder:
    """A machine on which release.sh runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record, self.container = folder / "record", folder / "container"
        (folder / "bin").mkdir()
        self.answers(0)
        self._program("docker", CONTAINERS.format(record=self.container))
        (folder / "packshot.pub").touch()
        (folder / "depot").mkdir()

    def answers(self, code: int) -> None:
        """What the next commands end with."""
        digests = {"pack": ENV, "app": APP, "model add": MODEL, "release": RELEASE}
        text = LISTENER.format(
            python=sys.executable, digests=digests, record=str(self.record), code=code
        )
        self._program("packshot-env", text)

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, step: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "DEPOT": str(self.folder / "depot"),
            "KEY": "signing.key",
            "PUBLIC_KEY": str(self.folder / "packshot.pub"),
            "DESTINATION": "s3://releases/worker",
            "MODEL": "weights",
            **settings,
        }
        return subprocess.run(
            [CI / "release.sh", step],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> dict[str, dict[str, str]]:
        return dict(json.loads(line) for line in self.record.read_text().splitlines())

    def formats(self) -> list[str]:
        """In which the environment is packed."""
        said = map(json.loads, self.record.read_text().splitlines())
        return [words["format"] for command, words in said if command == "pack"]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def test_the_script_speaks_packshot_env(builder: Builder) -> None:
    for step in STEPS:
        ended = builder.run(step, VARIANT="cpu", ACCEPT="--accept CVE-1 --accept CVE-2")
        assert ended.returncode == 0, ended.stderr

    asked = builder.asked()
    assert builder.formats() == ["tar.gz", "tar.zst"]
    assert list(asked) == [
        *("build", "pack", "app", "model add", "sbom", "scan", "provenance", "release"),
        *("verify", "node-file", "ship"),
    ]
    assert set(asked) <= set(COMMANDS)
    assert asked["build"]["variant"] == "cpu"
    assert asked["scan"]["accept"] == "['CVE-1', 'CVE-2']"
    assert {asked[one]["layer"] for one in ("sbom", "scan", "provenance")} == {ENV}
    assert [asked["release"][one] for one in ("env", "app", "model")] == [ENV, APP, MODEL]
    assert {asked["verify"]["release"], asked["ship"]["release"]} == {RELEASE}
    assert asked["ship"]["to"] == "s3://releases/worker"


def test_what_is_published_is_named_by_its_day(builder: Builder) -> None:
    for step in STEPS[:-1]:
        builder.run(step)

    assert builder.run("publish").stdout.splitlines()[-1] == "published 2026.11.22-7"


def test_a_clean_container_does_what_a_bare_host_does(builder: Builder) -> None:
    for step in STEPS[:5]:
        builder.run(step)

    words = builder.container.read_text().splitlines()
    inside = re.findall(r"node (\w+) ", "\n".join(words))
    assert words[:4] == ["run", "--rm", "--network", "none"]
    assert inside == ["unpack", "check", "activate"]
    assert set(inside) <= set(ON_HOSTS)
    assert words[-1] == RELEASE


def test_weights_are_named_or_nothing_is_packed(builder: Builder) -> None:
    builder.run("build")

    ended = builder.run("pack", MODEL="")

    assert ended.returncode != 0
    assert "MODEL: is not set to the folder of the weights" in ended.stderr
    assert list(builder.asked()) == ["build"]


@pytest.mark.parametrize("name", ["github.yml", "Jenkinsfile"])
def test_a_pipeline_names_the_weights_that_it_publishes(name: str) -> None:
    (folder,) = re.findall(r"(?m)^ *MODEL(?::| =) '?(/[^'\n]+)", (CI / name).read_text())

    assert "tiny" not in folder


@pytest.mark.parametrize("code", [10, 11])
def test_a_scan_that_is_not_clean_ends_the_release(builder: Builder, code: int) -> None:
    for step in STEPS[:2]:
        builder.run(step)
    builder.answers(code)

    assert builder.run("scan").returncode == code


def test_a_step_that_is_none_is_answered_with_those_that_are(builder: Builder) -> None:
    ended = builder.run("deploy")

    assert ended.returncode == 64
    assert ended.stderr.startswith("usage: ")
    assert "build|pack|scan|sign|smoke|publish" in ended.stderr
