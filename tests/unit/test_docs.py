"""What the documentation names exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from jobs.states import MOVES
from producer.cli.commands import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/*/README.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_promise_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text("utf-8")))
    tests = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("*.py"))

    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_the_picture_of_states_is_the_table_of_moves() -> None:
    drawn = re.findall(
        r"^    (\w+) --> (\w+):", (ROOT / "docs" / "states.md").read_text("utf-8"), re.MULTILINE
    )

    assert set(drawn) == {(state.value, to.value) for state, tos in MOVES.items() for to in tos}


def test_the_readme_is_short_and_names_both_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert len(readme.splitlines()) <= 120
    assert "make demo" in readme
    assert "make test" in readme


def test_the_reference_of_the_command_line_is_its_help() -> None:
    page = " ".join((ROOT / "docs" / "cli.md").read_text("utf-8").split())

    above = click.Context(cli, info_name="packshot", **cli.context_settings)

    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name, parent=above)
        words = " ".join(command.get_help(context).split())
        assert words in page, f"docs/cli.md tells another 'packshot {name} --help'"
