"""What a check finds on this host, with and without cards.

Cards here are a script named ``nvidia-smi``; its output is written by hand in that one's form,
and no kernel was run on a real card.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from envpack.node.check import Finding, check
from envpack.node.host import Host
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import unpacked

H100 = "0, GPU-6a1c0c1b-5d2f-9f53-6e57-0f6b6a3a1a11, NVIDIA H100 80GB HBM3, {driver}, 9.0"
CUDA = {"cuda": "12.8", "architectures": ["sm_80", "sm_90", "compute_90"]}


@pytest.fixture(autouse=True)
def no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path of programs without an ``nvidia-smi``, until a test writes one."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "readlink", "env", "sync", "zstd"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    return programs


def cards(programs: Path, *lines: str, code: int = 0) -> None:
    script = programs / "nvidia-smi"
    body = "\n".join(f"echo '{line}'" for line in lines)
    script.write_text(f"#!/bin/sh\n{body}\nexit {code}\n")
    script.chmod(0o755)


def content(**facts: Any) -> Content:  # noqa: ANN401
    return Content(files=ENV.files, links=ENV.links, facts={**ENV.facts, **facts})


def found(
    host: Host, depot: TestDepot, made: Content, *, quick: bool = False, needs_card: bool = False
) -> dict[str, Finding]:
    release = depot.release(env=depot.layer("env", made))
    unpacked(host, depot, release)
    return again(host, release, quick=quick, needs_card=needs_card)


def again(
    host: Host, release: str, *, quick: bool = False, needs_card: bool = False
) -> dict[str, Finding]:
    return {one.check: one for one in check(host, release, quick=quick, needs_card=needs_card)}


def test_a_build_for_the_cpu_skips_what_asks_for_a_card(host: Host, depot: TestDepot) -> None:
    findings = found(host, depot, ENV)

    assert {name: one.state for name, one in findings.items()} == {
        "env": "ok", "app": "ok", "model": "ok", "host": "ok", "disk": "ok", "imports": "ok",
        "application": "skipped",
        "cards": "skipped", "driver": "skipped", "architectures": "skipped", "kernels": "skipped",
    }  # fmt: skip
    assert findings["kernels"].text == "built for the CPU"


def test_a_quick_check_loads_no_module(host: Host, depot: TestDepot) -> None:
    release = depot.release(env=depot.layer("env", content(imports=["torch"])))
    unpacked(host, depot, release)

    assert again(host, release)["imports"].text.endswith("loaded: torch")
    assert "nothing, to be quick" in again(host, release, quick=True)["imports"].text


def test_an_application_that_its_environment_does_not_serve_fails(
    host: Host, depot: TestDepot
) -> None:
    code = f"""#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
said=$({sys.executable} "$@")
echo "[\\"$here\\", ${{said#*, }}"
"""
    env = depot.layer("env", Content(files={"bin/python": (code.encode(), 0o755)}))
    app = Content(
        files={"worker/cli.py": (b"", 0o644), "worker/run.py": (b"import gone_with_it", 0o644)},
        facts={"imports": ["worker.cli", "worker.run"]},
    )
    release = depot.release(env=env, app=depot.layer("app", app))
    unpacked(host, depot, release)

    found = again(host, release)["application"]

    assert (found.state, found.text) == (
        "failed",
        "worker.run: ModuleNotFoundError: No module named 'gone_with_it'",
    )
    assert again(host, release, quick=True)["application"].state == "skipped"


@pytest.mark.parametrize(("needs_card", "state"), [(False, "skipped"), (True, "failed")])
def test_a_host_without_a_card_says_so(
    host: Host,
    depot: TestDepot,
    needs_card: bool,  # noqa: FBT001
    state: str,
) -> None:
    findings = found(host, depot, content(**CUDA), needs_card=needs_card)

    for name in ("cards", "driver", "architectures", "kernels"):
        assert findings[name].state == state
        assert "no nvidia-smi on this host" in findings[name].text


@pytest.mark.parametrize("lines", [(), ("No devices were found",)])
def test_a_driver_that_shows_no_card_is_no_card(
    host: Host, depot: TestDepot, no_cards: Path, lines: tuple[str, ...]
) -> None:
    cards(no_cards, *lines)
    release = depot.release(env=depot.layer("env", content(**CUDA)))
    unpacked(host, depot, release)

    for needs_card, state in ((False, "skipped"), (True, "failed")):
        findings = again(host, release, needs_card=needs_card)
        for name in ("cards", "driver", "architectures", "kernels"):
            assert findings[name].state == state
            assert "nvidia-smi shows no card" in findings[name].text


def test_a_build_for_the_cpu_fails_where_a_card_is_asked_for(
    host: Host, depot: TestDepot, no_cards: Path
) -> None:
    cards(no_cards, H100.format(driver="580.95.05"))

    findings = found(host, depot, ENV, needs_card=True)

    assert findings["cards"] == Finding("cards", "failed", "built for the CPU")


def test_a_quick_check_starts_nothing_on_a_card(
    host: Host, depot: TestDepot, no_cards: Path
) -> None:
    cards(no_cards, H100.format(driver="580.95.05"))

    findings = found(host, depot, content(**CUDA), quick=True)

    assert findings["kernels"] == Finding("kernels", "skipped", "none run, to be quick")
    assert findings["driver"].state == "ok"  # what only asks is asked


def test_a_driver_that_does_not_answer_fails(host: Host, depot: TestDepot, no_cards: Path) -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch"
    cards(no_cards, said, code=18)

    findings = found(host, depot, content(**CUDA))

    assert findings["driver"].state == "failed"
    assert said in findings["driver"].text


@pytest.mark.parametrize(
    ("driver", "state"), [("525.60.12", "failed"), ("550.54.14", "warning"), ("580.95.05", "ok")]
)
def test_cards_drivers_and_kernels_are_told_one_by_one(
    host: Host, depot: TestDepot, no_cards: Path, driver: str, state: str
) -> None:
    cards(no_cards, H100.format(driver=driver))

    findings = found(host, depot, content(**CUDA))

    assert findings["driver"].state == state
    assert findings["architectures"].state == "ok"
    assert findings["cards"].text.endswith("NVIDIA H100 80GB HBM3")
    assert findings["kernels"].state == "ok"  # the tests' Python computes nothing, and says so


@pytest.mark.parametrize(
    ("architectures", "state"),
    [
        (["sm_90"], "ok"),
        (["sm_80", "sm_90a"], "ok"),
        (["sm_80"], "failed"),
        (["sm_80", "compute_80"], "warning"),
        (["sm_100", "sm_120"], "failed"),
        (["sm_100", "compute_120"], "failed"),
    ],
)
def test_a_card_needs_code_of_its_own_architecture(
    host: Host, depot: TestDepot, no_cards: Path, architectures: list[str], state: str
) -> None:
    cards(no_cards, H100.format(driver="580.95.05"))

    findings = found(host, depot, content(cuda="12.8", architectures=architectures))

    assert findings["architectures"].state == state


@pytest.mark.parametrize("quick", [False, True])
def test_a_file_that_changed_size_is_found(host: Host, depot: TestDepot, quick: bool) -> None:  # noqa: FBT001
    release = depot.release()
    env = unpacked(host, depot, release).release.env
    victim = host.layer("env", env) / "lib/deep/er/data.txt"
    victim.chmod(0o644)
    victim.write_bytes(b"data")

    finding = again(host, release, quick=quick)["env"]

    assert finding.state == "failed"
    assert "lib/deep/er/data.txt" in finding.text


def test_a_byte_a_link_and_a_file_too_many_are_found(host: Host, depot: TestDepot) -> None:
    release = depot.release()
    tree = host.layer("env", unpacked(host, depot, release).release.env)
    for folder in (tree, tree / "lib", tree / "etc"):
        folder.chmod(0o755)
    conf = tree / "etc/demo.conf"
    conf.chmod(0o644)
    conf.write_bytes(conf.read_bytes().replace(b"prefix", b"prefiX"))
    assert "1 files not as unpacked, etc/demo.conf" in again(host, release)["env"].text
    (tree / "lib64").unlink()
    (tree / "lib64").symlink_to("etc")
    (tree / "lib/sitecustomize.py").write_text("evil")

    assert "3 files not as unpacked" in again(host, release)["env"].text


def test_a_model_that_changed_is_found(host: Host, depot: TestDepot) -> None:
    release = depot.release()
    folder = host.layer("model", unpacked(host, depot, release).release.model)
    (folder / "unet/extra.bin").write_bytes(b"x")
    assert "unet/extra.bin: is not in the manifest: remove it" in again(host, release)["model"].text
    (folder / "unet/extra.bin").unlink()
    assert again(host, release)["model"].state == "ok"
    (folder / "unet/weights.bin").unlink()

    for quick in (False, True):
        assert again(host, release, quick=quick)["model"].state == "failed"
