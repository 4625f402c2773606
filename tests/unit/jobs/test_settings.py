"""Settings: all problems at once, and no secret in any message."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import BadSettings
from jobs.settings import ENV_FILE, PREFIX, ProducerSettings, Settings

SECRETS = {
    "PACKSHOT_DATABASE_URL": "postgresql://packshot:s3cret@host:5432/packshot",
    "PACKSHOT_REDIS_URL": "redis://:s3cret@host:6379/0",
    "PACKSHOT_S3_URL": "http://access:s3cret@host:9000/packshot",
}


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*SECRETS, ENV_FILE, "PACKSHOT_TENANT", "PACKSHOT_MODEL", "PACKSHOT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def all_set(nothing_set: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in SECRETS.items():
        nothing_set.setenv(name, value)
    return nothing_set


def env_file(folder: Path, **settings: str) -> Path:
    path = folder / "packshot.env"
    path.write_text("\n".join(f"{name}={value}" for name, value in settings.items()))
    return path


@pytest.mark.usefixtures("nothing_set")
def test_everything_that_is_missing_is_told_at_once_with_its_form() -> None:
    with pytest.raises(BadSettings) as caught:
        Settings.load()

    for name in SECRETS:
        assert f"{name} is not set (" in str(caught.value)
    assert ENV_FILE in str(caught.value)


@pytest.mark.usefixtures("all_set")
def test_the_environment_is_read() -> None:
    settings = ProducerSettings.load()

    assert settings.database_url.get_secret_value() == SECRETS["PACKSHOT_DATABASE_URL"]
    assert settings.tenant == "default"


@pytest.mark.parametrize("name", ["TENANT", "MODEL", "PROFILE"])
@pytest.mark.parametrize("value", ["", "two words", "a/b"])
def test_a_name_that_none_can_have_is_told_by_its_variable(
    all_set: pytest.MonkeyPatch, name: str, value: str
) -> None:
    all_set.setenv(f"{PREFIX}{name}", value)

    with pytest.raises(BadSettings, match=f"^{PREFIX}{name}: letters, digits, .* got '{value}'"):
        ProducerSettings.load()


@pytest.mark.usefixtures("nothing_set")
def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "packshot.env"
    path.write_bytes(b"\xff\xfeP")

    with pytest.raises(BadSettings, match=r"packshot\.env cannot be read: not UTF-8 text"):
        Settings.load(path)


def test_a_file_is_read_and_the_environment_goes_before_it(
    all_set: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    all_set.delenv("PACKSHOT_REDIS_URL")
    all_set.setenv("PACKSHOT_TENANT", "of-the-environment")
    path = env_file(tmp_path, PACKSHOT_REDIS_URL="redis://elsewhere", PACKSHOT_TENANT="of-the-file")

    settings = ProducerSettings.load(path)

    assert settings.redis_url.get_secret_value() == "redis://elsewhere"
    assert settings.tenant == "of-the-environment"


def test_the_file_can_be_named_in_the_environment(
    nothing_set: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing_set.setenv(ENV_FILE, str(env_file(tmp_path, **SECRETS)))

    assert Settings.load().s3_url.get_secret_value() == SECRETS["PACKSHOT_S3_URL"]


@pytest.mark.usefixtures("all_set")
def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.env"

    with pytest.raises(BadSettings, match=f"{ENV_FILE}: no file {missing}"):
        Settings.load(missing)


@pytest.mark.usefixtures("all_set")
def test_a_start_up_line_tells_where_and_no_secret() -> None:
    told = Settings.load().redacted()

    assert told == {
        "database_url": "postgresql://***@host:5432/packshot",
        "redis_url": "redis://***@host:6379/0",
        "s3_url": "http://***@host:9000/packshot",
        "log_json": False,
    }


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host:port/0",
        "redis://:s3cret@[::1",
        "redis://:s3cret/more@host/0",
        "redis://:s3cret#more@host/0",
        "s3cret",
    ],
)
def test_a_url_that_cannot_be_read_is_redacted_too(all_set: pytest.MonkeyPatch, url: str) -> None:
    all_set.setenv(f"{PREFIX}REDIS_URL", url)

    assert "s3cret" not in str(Settings.load().redacted())


@pytest.mark.usefixtures("all_set")
def test_settings_show_no_secret_when_printed() -> None:
    assert "s3cret" not in repr(Settings.load())
