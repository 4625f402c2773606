"""Files come whole or not at all, resumed where they broke off, from every kind of depot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from envpack.node import depot as depots
from envpack.node import fetch, s3
from envpack.node.depot import depot
from envpack.node.errors import NotThere, NotTrusted, Unreachable, Unsuitable
from envpack.node.fetch import fetched
from envpack.node.settings import BucketServer, bucket_server
from tests.services import refused_port
from tests.unit.envpack.node.web import Weather, served, web_server

CONTENT = os.urandom(3_000_000)
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return tmp_path / "parts"


@pytest.fixture
def url(tmp_path: Path, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(fetch, "_PAUSE", 0.0)
    (tmp_path / "web/archives").mkdir(parents=True)
    (tmp_path / "web/archives/file").write_bytes(CONTENT)
    with web_server(tmp_path / "web", weather) as url:
        yield url


def got(place: str, parts: Path, size: int = len(CONTENT)) -> bytes:
    return fetched(depot(place), "archives/file", DIGEST, size, parts).read_bytes()


def test_a_folder_is_read_where_it_lies(tmp_path: Path, url: str, parts: Path) -> None:
    for place in (str(tmp_path / "web"), (tmp_path / "web").as_uri()):
        assert got(place, parts) == CONTENT
    assert not parts.exists()
    assert url


def test_a_download_goes_on_where_it_broke_off(url: str, weather: Weather, parts: Path) -> None:
    weather.cut_after = [1_000_000, 1_500_000]

    assert got(url, parts) == CONTENT
    assert [asked[1] for asked in weather.asked] == ["", "bytes=1000000-", "bytes=2500000-"]


def test_a_later_run_goes_on_where_the_last_one_broke_off(
    url: str, weather: Weather, parts: Path
) -> None:
    weather.cut_after = [100, 100, 100, 100]

    with pytest.raises(Unreachable, match="400 of 3000000 bytes came"):
        got(url, parts)
    assert got(url, parts) == CONTENT
    assert weather.asked[-1][1] == "bytes=400-"
    assert (parts / DIGEST).exists()  # kept until it is used


def test_room_is_asked_only_for_what_is_still_to_come(
    tmp_path: Path, url: str, weather: Weather, parts: Path
) -> None:
    def to_come(place: str) -> int:
        return fetch.to_come(depot(place), "archives/file", DIGEST, len(CONTENT), parts)

    assert to_come(str(tmp_path / "web")) == 0
    assert to_come(url) == len(CONTENT)
    weather.cut_after = [100, 100, 100, 100]
    with pytest.raises(Unreachable):
        got(url, parts)
    assert to_come(url) == len(CONTENT) - 400


def test_a_server_without_ranges_starts_again(url: str, weather: Weather, parts: Path) -> None:
    weather.cut_after, weather.ranges = [1_000_000], False

    assert got(url, parts) == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(
    url: str, weather: Weather, parts: Path
) -> None:
    parts.mkdir()
    (parts / DIGEST).write_bytes(b"x" * (len(CONTENT) + 1))

    assert got(url, parts) == CONTENT
    assert [asked[1] for asked in weather.asked] == [""]


def test_a_part_of_something_else_is_refused_once_and_thrown_away(url: str, parts: Path) -> None:
    parts.mkdir()
    (parts / DIGEST).write_bytes(b"evil")

    with pytest.raises(NotTrusted, match=f"sha256 {DIGEST} expected"):
        got(url, parts)
    assert got(url, parts) == CONTENT


def test_no_more_is_taken_than_the_size_that_was_signed(url: str, parts: Path) -> None:
    with pytest.raises(NotTrusted, match="sha256"):
        got(url, parts, size=1000)

    assert not (parts / DIGEST).exists()


def test_a_part_that_is_a_link_is_not_followed(url: str, parts: Path, tmp_path: Path) -> None:
    parts.mkdir()
    (parts / DIGEST).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        got(url, parts)
    assert not (tmp_path / "elsewhere").exists()


def test_a_tired_server_is_asked_again(url: str, weather: Weather, parts: Path) -> None:
    weather.fail_with = [503, 500]

    assert got(url, parts) == CONTENT
    assert len(weather.asked) == 3


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (404, (NotThere, "no such file in this depot")),
        (403, (NotThere, "403: not there, or not for these credentials")),
        (503, (Unreachable, r"answers 503 .* try again")),
    ],
)
def test_refusals_are_told_apart(
    url: str, weather: Weather, parts: Path, status: int, refusal: tuple[type[Exception], str]
) -> None:
    weather.fail_with = [status] * 9

    with pytest.raises(refusal[0], match=refusal[1]):
        got(url, parts)


def test_a_server_that_is_not_there_is_unreachable(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_PAUSE", 0.0)

    with refused_port() as port, pytest.raises(Unreachable, match=r"no answer .*; try again"):
        got(f"http://127.0.0.1:{port}", parts)


def test_a_token_goes_with_every_request_and_into_no_message(
    url: str, weather: Weather, parts: Path
) -> None:
    weather.fail_with = [404]

    with pytest.raises(NotThere) as caught:
        got(f"{url}/?token=secret", parts)

    assert weather.asked == [("/archives/file?token=secret", "")]
    assert "secret" not in str(caught.value)


def test_a_document_may_not_be_longer_than_it_may(url: str) -> None:
    assert depots.read(depot(url), "archives/file", len(CONTENT)) == CONTENT
    with pytest.raises(NotTrusted, match="longer than the 2999999 bytes"):
        depots.read(depot(url), "archives/file", len(CONTENT) - 1)


@pytest.mark.parametrize("place", ["", "ftp://host/x", "gopher://x", "s3:bucket", "file://host/x"])
def test_what_is_no_depot_is_said_to_be_none(place: str) -> None:
    with pytest.raises(Unsuitable, match="a folder, file:///FOLDER, https"):
        depot(place)


def test_a_depot_that_is_no_folder_is_not_to_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unsuitable, match="a depot is a folder that this user may read"):
        depots.read(depot(str(tmp_path / "file")), "releases/one.json", 100)


def test_a_request_is_signed_as_in_amazons_example() -> None:
    # "GET Bucket Lifecycle" of the page that s3.py names.
    server = BucketServer(
        url="https://examplebucket.s3.amazonaws.com",
        access="AKIAIOSFODNN7EXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
    )
    when = datetime(2013, 5, 24, tzinfo=UTC)

    headers = s3.signed_get(server, "https://examplebucket.s3.amazonaws.com/?lifecycle=", when)

    assert headers["Authorization"].endswith(
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature="
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


def test_secrets_are_read_from_the_environment_and_never_shown() -> None:
    server = bucket_server({"PACKSHOT_DEPOT_S3_URL": "https://me:s%2Fecret@host:9000"})

    assert (server.url, server.access, server.secret) == ("https://host:9000", "me", "s/ecret")
    assert "s/ecret" not in repr(server)
    with pytest.raises(Unsuitable) as caught:
        bucket_server({"PACKSHOT_DEPOT_S3_URL": "https://:s3cret@host"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("RequestTimeTooSkewed", (Unsuitable, "set this host's clock")),
        ("SignatureDoesNotMatch", (NotThere, r"credentials \(SignatureDoesNotMatch\)")),
    ],
)
def test_the_reason_that_a_bucket_gives_is_told(
    parts: Path, code: str, refusal: tuple[type[Exception], str]
) -> None:
    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()
            self.wfile.write(f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

        def log_message(self, *_: object) -> None: ...

    with served(Bucket) as url, pytest.raises(refusal[0], match=refusal[1]):
        got(url, parts)
