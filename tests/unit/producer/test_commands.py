"""The edge of the command line: plug-ins, errors, exit codes, what is imported."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType

import click
import pytest

from jobs import errors
from jobs.errors import JobsError, Unavailable
from producer.cli import group
from producer.cli.commands import cli
from producer.cli.exits import EXIT_CODES
from producer.cli.main import main
from producer.client import Client
from tests.unit.producer.shop import Shop

pytestmark = pytest.mark.usefixtures("logging_left_as_it_was")
HEAVY = ("sqlalchemy", "celery", "minio", "pydantic", "psycopg", "redis", "fastapi", "torch")


@click.command("greet", help="Say hello.")
@click.argument("name")
def greet(name: str) -> None:
    click.echo(f"hello {name}")


@click.command("lazy")
def lazy() -> None:
    raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")


PLUGINS = ModuleType("shop_plugins")
vars(PLUGINS).update(greet=greet, lazy=lazy)


def plug_in(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    found = [EntryPoint(name, value, group.GROUP) for name, value in entries.items()]
    monkeypatch.setattr(group, "entry_points", lambda *, group: found if group else [])


# ---- plug-ins


def test_a_plug_in_is_listed_without_being_imported(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, up="no.such.module:up", theirs="their.module:command")
    told = shop.run("--help").stdout

    assert "up       Run the whole system on this machine." in told
    assert "theirs   From their.module." in told


def test_a_plug_in_is_called_with_its_own_arguments(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, greet="shop_plugins:greet")
    monkeypatch.setitem(sys.modules, "shop_plugins", PLUGINS)

    assert shop.run("greet", "shop").stdout == "hello shop\n"
    assert "Say hello." in shop.run("greet", "--help").stdout
    assert shop.run("greet").exit_code == 2


@pytest.mark.parametrize(
    ("name", "extra"),
    [("serve", "api"), ("flower", "flower"), ("up", "standalone"), ("demo", "standalone")],
)
def test_a_plug_in_whose_extra_is_missing_names_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    plug_in(monkeypatch, **{name: "no_such_module:command"})
    result = shop.run(name)

    assert result.exit_code == 3
    assert result.stderr == (
        f"packshot: 'packshot {name}' cannot be loaded (No module named 'no_such_module'):"
        f" pip install 'packshot[{extra}]'\n"
    )


def test_an_extra_that_is_missed_only_later_is_named_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, serve="shop_plugins:lazy")
    monkeypatch.setitem(sys.modules, "shop_plugins", PLUGINS)
    result = shop.run("serve")

    assert result.exit_code == 3
    assert "No module named 'uvicorn'): pip install 'packshot[api]'" in result.stderr


def test_no_plug_in_takes_the_place_of_a_command(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, status="no.such.module:status")

    assert shop.run("status", "x").stderr.startswith("packshot: 'x' is no job id")


# ---- errors and exit codes


def failing(error: BaseException) -> Callable[[], Client]:
    def connect() -> Client:
        raise error

    return connect


def test_an_error_is_one_line_and_its_classes_exit_code(shop: Shop) -> None:
    away = Unavailable("Postgres at host:5432/packshot:\nconnection refused")
    result = shop.run("list", connect=failing(away))

    assert result.exit_code == 6
    assert result.stderr == "packshot: Postgres at host:5432/packshot: connection refused\n"


def test_an_error_is_json_for_machines(shop: Shop) -> None:
    result = shop.run("list", "--json", connect=failing(Unavailable("away")))

    assert result.stderr == '{"error": {"code": "unavailable", "message": "away"}}\n'


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["submit", "-", "-i", "red", "--seed", "x", "--json"], "'--seed': 'x' is not a valid"),
        (["wait", "--json"], "Name jobs by their ids"),
        (["list", "--stat", "failed", "--json"], "No such option"),
        (["list", "--json", "--limit"], "'--limit' requires an argument"),
    ],
)
def test_a_wrong_option_is_json_for_machines_too(shop: Shop, args: list[str], says: str) -> None:
    result = shop.run(*args)
    error = json.loads(result.stderr)["error"]

    assert result.exit_code == 2
    assert error["code"] == "invalid_request"
    assert says in error["message"]


def test_a_fault_of_our_own_is_one_line_that_tells_how_to_see_more(shop: Shop) -> None:
    result = shop.run("list", connect=failing(ZeroDivisionError("by zero")))

    assert result.exit_code == 1
    assert result.stderr == (
        "packshot: ZeroDivisionError: by zero (PACKSHOT_DEBUG=1 shows the traceback)\n"
    )


def test_debugging_shows_the_traceback(shop: Shop) -> None:
    result = shop.run("--debug", "list", connect=failing(ZeroDivisionError("by zero")))

    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_ctrl_c_is_exit_code_130_without_a_traceback(shop: Shop) -> None:
    result = shop.run("list", connect=failing(KeyboardInterrupt()))

    assert result.exit_code == 130
    assert result.stderr == "packshot: interrupted\n"


def test_ctrl_c_while_it_loads_is_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient:
        """Interrupts as the commands are looked for."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "producer.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "producer.cli.commands")
    monkeypatch.setattr(sys, "meta_path", [Impatient, *sys.meta_path])

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "packshot: interrupted\n"


def test_log_lines_do_not_spill_onto_the_terminal(shop: Shop) -> None:
    result = shop.run("list")
    logging.getLogger("celery").warning("something")

    assert result.stderr == ""


def all_errors(base: type[JobsError] = JobsError) -> Iterator[type[JobsError]]:
    yield base
    for one in base.__subclasses__():
        yield from all_errors(one)


def test_every_exit_code_is_explained(shop: Shop) -> None:
    told = shop.run("--help").stdout

    assert {one.exit_code for one in all_errors()} <= set(EXIT_CODES)
    assert all(f"{code:>3}  {meaning}" in told for code, meaning in EXIT_CODES.items())
    assert errors.JobNotFound.exit_code in EXIT_CODES


# ---- every command


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_speaks_json_and_shows_an_example(shop: Shop, name: str) -> None:
    told = shop.run(name, "--help").stdout

    assert "--json" in told
    assert f"  packshot {name}" in told


# ---- as a process


def test_help_loads_no_driver() -> None:
    probe = (
        "import sys; from producer.cli.commands import cli;"
        "cli.main(['--help'], standalone_mode=False);"
        f"print(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)

    assert done.stderr.split() == []


def test_a_reader_that_has_had_enough_ends_us_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "producer", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()

    assert told == b""


def test_every_option_says_what_it_does() -> None:
    context = click.Context(cli)
    named = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    loaded = {
        name: one.load() if isinstance(one, group.Plugin) else one for name, one in named.items()
    }
    mute = [
        f"{name} {param.opts[0]}"
        for name, one in loaded.items()
        for param in (one.params if one else [])
        if isinstance(param, click.Option) and not param.help
    ]

    assert mute == []
