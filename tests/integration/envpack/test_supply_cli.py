"""From a spec to a judged release, by the commands that a pipeline calls."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envpack.node import commands
from envpack.node.model import Manifest
from envpack.pack.cli import COMMANDS
from envpack.pack.depot import DepotFolder
from envpack.pack.layers import Packed
from envpack.pack.provenance import opened
from envpack.pack.sign import make_key
from tests.conda_prefix import PYTHON
from tests.unit.envpack.test_judge import NEW, figures, report

SPEC = """
name = "demo"
platform = "linux-64"
python = "{version}"
channels = ["conda-forge"]
conda = ["python {version}.*", "demo-conf"]
wheels = ["demo-tool"]
[variants.cpu]
"""

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit code, and what ``--json`` answers."""

    def called(*words: object) -> tuple[int, Any]:
        code = commands.main("packshot-env", "", COMMANDS, [*map(str, words), "--json"])
        said = capsys.readouterr().out
        return code, json.loads(said) if said else None

    return called


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "demo.toml"
    path.write_text(SPEC.format(version=PYTHON.removeprefix("python")))
    return path


def test_an_environment_is_locked_built_listed_attested_and_shipped(
    run: Run, spec: Path, conda_channel: Path, wheelhouse: Path, tmp_path: Path
) -> None:
    depot, prefix = tmp_path / "depot", tmp_path / "env"
    secret = make_key(tmp_path / "key", tmp_path / "key.pub")
    make_key(tmp_path / "other", tmp_path / "other.pub")
    common = ("--spec", spec, "--variant", "cpu", "--builder", "py-rattler")
    local = ("--wheelhouse", wheelhouse)

    code, solved = run("build", "--lock", *common, *local, "--channel", conda_channel.as_uri())
    assert (code, solved["conda"], solved["wheels"]) == (0, 2, 1)
    assert solved["where"] == str(tmp_path / "demo.cpu.lock.json")

    code, built = run("build", "--prefix", prefix, *common, *local)
    assert (code, built["where"]) == (0, str(prefix))

    code, packed = run("pack", prefix, "--depot", depot, "--key", tmp_path / "key")
    layer = packed["digest"]
    assert code == 0

    code, listed = run("sbom", prefix, "--layer", layer, "--depot", depot)
    assert (code, listed["metadata"]["component"]["name"]) == (0, "demo")

    signed = ("--key", tmp_path / "key", "--builder-id", "https://ci.example", "--commit", "0" * 40)
    code, envelope = run("provenance", prefix, "--layer", layer, "--depot", depot, *signed)
    statement = opened(envelope, verify=lambda message, one: secret.raw_signature(message) == one)
    assert code == 0
    archive = packed["archive"]["sha256"]
    assert statement["subject"] == [
        {"name": f"archives/{archive}.tar.zst", "digest": {"sha256": archive}},
        {"name": f"manifests/{layer}.json", "digest": {"sha256": layer}},
    ]
    assert len(statement["predicate"]["buildDefinition"]["resolvedDependencies"]) == 4

    for who, code in ((tmp_path / "key.pub", 0), (tmp_path / "other.pub", 77)):
        assert run("origin", layer, "--depot", depot, "--key", who)[0] == code
    report = depot / "reports" / layer / "provenance.intoto.json"
    elsewhere = depot / "reports" / ("f" * 64) / report.name
    elsewhere.parent.mkdir()
    shutil.copy(report, elsewhere)
    assert run("origin", "f" * 64, "--depot", depot, "--key", tmp_path / "key.pub")[0] == 77
    shutil.rmtree(elsewhere.parent)

    code, shipped = run("ship", depot, tmp_path / "far")
    kept = {one.name for one in (tmp_path / "far" / "reports" / layer).iterdir()}
    assert (code, shipped["sent"]) == (0, 6)
    assert kept == {"sbom.cdx.json", "provenance.intoto.json"}


def test_a_report_that_is_not_kept_is_answered_whole(
    conda_prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sbom", str(conda_prefix), "--layer", "e" * 64]
    assert commands.main("packshot-env", "", COMMANDS, words) == 0

    assert json.loads(capsys.readouterr().out)["bomFormat"] == "CycloneDX"


@pytest.mark.parametrize("command", ["sbom", "provenance"])
def test_what_names_its_layer_asks_for_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        commands.main("packshot-env", "", COMMANDS, [command, "."])

    assert "--layer" in capsys.readouterr().err.splitlines()[-1]


def test_a_scan_that_could_not_look_ends_with_11_and_says_so_in_the_depot(
    run: Run, conda_prefix: Path, packed: Packed, depot: DepotFolder
) -> None:
    words = ("scan", conda_prefix, "--layer", packed.digest, "--depot", depot.folder)

    code, found = run(*words, "--osv-url", "http://127.0.0.1:9/v1/query")

    kept = json.loads(depot.read(f"reports/{packed.digest}/scan.json"))
    assert (code, found["outcome"]) == (11, "not-audited")
    assert kept == found


@pytest.mark.parametrize("command", ["sbom", "scan", "provenance"])
def test_no_report_is_kept_for_a_layer_of_other_packages(
    run: Run, conda_prefix: Path, tmp_path: Path, command: str
) -> None:
    depot = DepotFolder(tmp_path)
    other = depot.put_manifest(Manifest(layer="env", files=(), facts={"packages": []}))

    make_key(tmp_path / "key", tmp_path / "key.pub")
    signed = ("--key", tmp_path / "key", "--builder-id", "https://ci.example", "--commit", "0" * 40)
    words = signed if command == "provenance" else ()

    code, _ = run(command, conda_prefix, "--layer", other, "--depot", tmp_path, *words)

    assert code == 65
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("canary", "code"),
    [({}, 0), ({"attempts": 20, "errors": 0}, 20), ({"errors": 500}, 21)],
)
def test_a_judgement_is_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, canary: dict[str, int], code: int
) -> None:
    text = json.dumps(report(figures(**canary)))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    assert run("judge", "-", "--canary", NEW)[0] == code


def test_limits_are_options(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report(figures(attempts=20, errors=0, golden={}))))

    code, found = run(
        "judge", path, "--canary", NEW, "--minimum", 10, "--tolerance", 0.2, "--no-golden"
    )

    assert (code, found["verdict"]) == (0, "promote")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["scan", ".", "--depot", "depot"], 65),  # before minutes are spent
        (["build", "--lock", "--spec", "absent.toml"], 66),
        (["judge", "absent.json"], 66),
        (["ship", ".", "http://nowhere"], 69),
        (["sbom", ".", "--layer", "latest"], 65),
        (["provenance", ".", "--layer", "e" * 64, "--key", "none", "--builder-id", "x"], 66),
    ],
)
def test_a_fault_is_one_line_and_a_code(
    words: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert commands.main("packshot-env", "", COMMANDS, words) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
