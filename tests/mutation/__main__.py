"""``make mutation``: takes each guard away in a copy of the tree, and shows the test that sees it.

Exit code 1 if a test stays green without its guard, or is red with it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from standalone.servers import Servers
from standalone.settings import child_environment
from tests.mutation.guards import GUARDS, Edit, Guard

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = (
    *("jobs", "producer", "worker", "standalone", "benchmarks", "tests", "pyproject.toml"),
)
SKIPPED: Final = shutil.ignore_patterns("__pycache__", "data", "*.safetensors")
FAILED: Final = re.compile(r"\b(\d+) (?:failed|errors?)\b")
TIMEOUT: Final = 120  # seconds for one test


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="packshot-mutation-") as folder:
        tree, servers = Path(folder) / "tree", Servers(Path(folder) / "servers")
        copy(tree)
        try:
            with servers:
                return judge(tree, settings(servers))
        finally:
            servers.erase()


def judge(tree: Path, environment: dict[str, str]) -> int:
    """With all guards the tests are green; without one, its own is red."""
    tests = list(dict.fromkeys(guard.test for guard in GUARDS))
    if is_red(tree, tests, environment):
        print("with all guards in place, a named test is red: mend that first")
        return 1
    print("| guard | where | test | without it |\n|---|---|---|---|")
    green = 0
    for guard in GUARDS:
        red = dropped(tree, guard, environment)
        green += not red
        test = guard.test.rpartition("::")[2]
        print(f"| {guard.name} | `{guard.where}` | `{test}` | {'red' if red else 'GREEN'} |")
        sys.stdout.flush()
    print(f"\n{len(GUARDS)} guards, {len(GUARDS) - green} red, {green} green")
    return 1 if green else 0


def dropped(tree: Path, guard: Guard, environment: dict[str, str]) -> bool:
    """Whether the guard's test is red without it; the tree is whole again afterwards."""
    before = {edit.file: (tree / edit.file).read_text() for edit in guard.edits}
    try:
        for edit in guard.edits:
            apply(tree, edit)
        return is_red(tree, [guard.test], environment)
    finally:
        for file, text in before.items():
            (tree / file).write_text(text)


def apply(tree: Path, edit: Edit) -> None:
    path = tree / edit.file
    text = path.read_text()
    assert text.count(edit.text) == 1, f"{edit.file}: not once: {edit.text!r}"
    path.write_text(text.replace(edit.text, edit.instead))


def is_red(tree: Path, tests: Sequence[str], environment: dict[str, str]) -> bool:
    """A test that cannot be collected is neither red nor green, and ends the run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *tests],
        cwd=tree,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 30 * len(tests),
        check=False,
    )
    if done.returncode not in {0, 1} or f"{tree}" not in where_imported(tree, environment):
        raise SystemExit(f"pytest could not run {tests}:\n{done.stdout[-2000:]}")
    return done.returncode == 1 and FAILED.search(done.stdout) is not None


def where_imported(tree: Path, environment: dict[str, str]) -> str:
    """The copy, not the tree that an editable installation leads to."""
    told = subprocess.run(
        [sys.executable, "-c", "import jobs, worker; print(jobs.__file__, worker.__file__)"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout


def copy(tree: Path, names: Iterable[str] = COPIED) -> None:
    tree.mkdir()
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=SKIPPED)
        else:
            shutil.copy2(source, tree / name)


def settings(servers: Servers) -> dict[str, str]:
    """One set of servers for all runs; each makes a database of its own."""
    tests = {
        name.replace("PACKSHOT_", "PACKSHOT_TEST_"): url
        for name, url in servers.environment().items()
    }
    return child_environment(tests)


if __name__ == "__main__":
    sys.exit(main())
