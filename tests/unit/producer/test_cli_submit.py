from __future__ import annotations

from pathlib import Path

import pytest

from jobs import pictures
from jobs.errors import Unavailable
from jobs.model import OutputFormat, Priority
from tests.unit.producer.shop import Shop, folder_of, photo

# ---- what is submitted


def test_each_photograph_is_a_job(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png")
    result = shop.run("submit", tmp_path / "b.png", tmp_path / "a.png", "-i", "make it red")

    assert result.exit_code == 0
    assert result.stdout == "".join(
        f"{job.id}\tqueued\t{tmp_path / name}\n"
        for job, name in zip(shop.jobs, ["b.png", "a.png"], strict=True)
    )


def test_the_name_of_the_batch_is_told_so_that_it_can_be_waited_for(
    shop: Shop, tmp_path: Path
) -> None:
    folder_of(tmp_path, "a.png", "b.png")
    result = shop.run("submit", tmp_path, "-i", "make it red")
    name = shop.jobs[0].batch

    assert result.stderr == f"packshot: 2 jobs; to wait: packshot wait --batch {name}\n"


def test_the_same_again_is_the_same_job_and_is_told_so(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    shop.run("submit", tmp_path, "-i", "red")
    result = shop.run("submit", tmp_path, "-i", "red")

    assert len(shop.jobs) == 1
    assert result.stdout.endswith("\twas there already\n")
    assert result.stderr == "packshot: 1 job of an earlier batch asked for the same\n"


def test_again_makes_another_job_of_the_same(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    for _ in range(3):
        shop.run("submit", tmp_path, "-i", "red", "--again")

    assert len(shop.jobs) == 3


def test_references_go_with_each_photograph(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png", "ref/logo.png")
    shop.run("submit", tmp_path, "-i", "x", "--with", tmp_path / "ref/logo.png")
    one, other = (job.request.pictures for job in shop.jobs)

    assert one[1] == other[1]
    assert one[0] != other[0]


def test_every_option_reaches_the_job(shop: Shop) -> None:
    options = (
        "--profile=fast --seed=7 --steps=9 --cfg=2.5 --negative=blur --size=64x64 --format=webp"
        " --quality=80 --alpha"
        " --priority=bulk --batch=spring --key=k1 --metadata=sku=A-1 --metadata=name=mug"
        " --max-failures=5 --start-within=1h --run-limit=90s --keep-for=7d"
    )
    shop.run("submit", "-", "-i", "red", *options.split(), stdin=photo())
    (job,) = shop.jobs
    request = job.request

    assert (request.profile, request.seed, request.steps) == ("fast", 7, 9)
    assert (request.true_cfg_scale, request.negative, request.size) == (2.5, "blur", "64x64")
    assert (request.format, job.priority) == (OutputFormat.WEBP, Priority.BULK)
    assert (request.quality, request.alpha) == (80, True)
    assert (job.batch, job.idempotency_key, job.max_failures) == ("spring", "k1", 5)
    assert job.metadata == {"sku": "A-1", "name": "mug"}
    assert job.start_by is not None


def test_a_photograph_may_come_through_a_pipe(shop: Shop) -> None:
    (answer,) = shop.json("submit", "-", "-i", "red", stdin=photo())

    assert answer["image"] == "stdin"
    assert answer["created"] is True


def test_a_manifest_may_come_through_a_pipe(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png")
    rows = f"image,instruction\n{tmp_path}/a.png,red\n{tmp_path}/b.png,blue\n"
    shop.run("submit", "--manifest", "-", stdin=rows.encode())

    assert [job.request.instruction for job in shop.jobs] == ["red", "blue"]


def test_a_manifest_and_photographs_go_together(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "rows/b.png")
    (tmp_path / "rows/m.csv").write_text("image,instruction,sku\nb.png,,B-2\n", "utf-8")
    answers = shop.json(
        "submit", tmp_path / "a.png", "--manifest", tmp_path / "rows/m.csv", "-i", "red"
    )

    assert [one["image"] for one in answers] == [f"{tmp_path}/a.png", "b.png"]
    assert answers[1]["where"] == f"{tmp_path}/rows/m.csv:2"
    assert answers[1]["metadata"] == {"name": "b.png", "sku": "B-2"}


# ---- what is refused


def cut_short() -> bytes:
    return photo(size=(640, 480), kind="JPEG")[:-400]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no picture", "not a picture in a supported format"),
        (b"", "the file is empty"),
        (cut_short(), "the JPEG file is truncated or damaged"),
        (photo(size=(1, 1)), "1×1 pixels; each side must be 16 to 16,384 pixels"),
        (photo(size=(20_000, 10)), "20000×10 pixels; each side must be 16 to 16,384 pixels"),
    ],
    ids=["no picture", "empty", "truncated", "1×1", "20,000×10"],
)
def test_a_bad_file_is_named_and_the_others_go_on(
    shop: Shop, tmp_path: Path, data: bytes, says: str
) -> None:
    folder_of(tmp_path, "a.png", "c.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(data)
    result = shop.run("submit", tmp_path, "-i", "red")

    assert result.exit_code == 2
    assert f"packshot: {bad}: {says}" in result.stderr
    assert result.stderr.endswith("packshot: 1 of 3 not accepted\n")
    assert len(shop.jobs) == 2


def test_a_file_that_is_not_there_is_named(shop: Shop) -> None:
    result = shop.run("submit", "missing.png", "-i", "red")

    assert result.exit_code == 2
    assert result.stderr == "packshot: missing.png: cannot be read: No such file or directory\n"


def test_four_pictures_are_too_many_and_all_are_named(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    result = shop.run(
        "submit", tmp_path / "a.png", *(f"--with=ref{i}.png" for i in range(3)), "-i", "x"
    )

    assert result.exit_code == 2
    assert "pictures: 1 to 3, got 4 (" in result.stderr
    assert "ref2.png" in result.stderr


@pytest.mark.parametrize(
    ("instruction", "says"),
    [
        (" ", "instruction: empty; say what to change"),
        ("长" * 100_000, "instruction: at most 2000 characters, got 100000"),
    ],
)
def test_an_instruction_has_limits(shop: Shop, instruction: str, says: str) -> None:
    result = shop.run("submit", "-", "-i", instruction, stdin=photo())

    assert result.exit_code == 2
    assert result.stderr == f"packshot: stdin: {says}\n"


def test_what_is_wrong_with_all_is_said_once(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png", "c.png")
    result = shop.run("submit", tmp_path, "-i", "red", "--size", "huge")

    assert result.stderr == "packshot: size: auto, source or WIDTHxHEIGHT, got 'huge'\n"


def test_what_is_wrong_with_all_rows_names_the_manifest(shop: Shop, tmp_path: Path) -> None:
    manifest = tmp_path / "m.json"
    manifest.write_text('[\n{"image":\n')
    result = shop.run("submit", "--manifest", manifest, "-i", "red")

    assert result.exit_code == 2
    message = "not JSON; write one object a line"
    assert result.stderr == f"packshot: {message} (2 of 2: {manifest}:1, {manifest}:2)\n"


def test_columns_that_become_metadata_are_told_as_one_may_be_misspelt(
    shop: Shop, tmp_path: Path
) -> None:
    folder_of(tmp_path, "a.png")
    (tmp_path / "m.csv").write_text("image,instruction,sku,prioirty,season\na.png,red,A,bulk,\n")
    result = shop.run("submit", "--manifest", tmp_path / "m.csv", "--metadata", "shop=1")

    assert result.stderr.startswith("packshot: kept as metadata: sku, prioirty\n")
    assert "kept" not in shop.run("submit", tmp_path / "a.png", "-i", "x").stderr


def test_bytes_that_are_no_text_are_refused_before_they_reach_the_ledger(
    shop: Shop, tmp_path: Path
) -> None:
    folder_of(tmp_path, "a.png", "b.png")
    rows = '{"image": "a.png", "instruction": "x\\ud800"}\n{"image": "b.png", "instruction": "x"}'
    (tmp_path / "m.jsonl").write_text(rows, "utf-8")
    answers = shop.json("submit", "--manifest", tmp_path / "m.jsonl", code=2)

    assert answers[0]["error"]["message"].startswith("instruction: contains a NUL character or")
    assert answers[1]["state"] == "queued"


def test_json_tells_of_jobs_and_errors_in_the_callers_order(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    answers = shop.json("submit", "x.png", tmp_path / "a.png", "y.png", "-i", "red", code=2)

    assert ["error" in one and bool(one["error"]) for one in answers] == [True, False, True]
    assert answers[0] == {
        "image": "x.png",
        "error": {
            "code": "unusable_picture",
            "message": "x.png: cannot be read: No such file or directory",
        },
    }


def test_the_first_error_decides_the_exit_code(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    unserved = ("submit", tmp_path / "a.png", "missing.png", "-i", "x", "--model", "other")

    assert shop.run(*unserved).exit_code == 7
    assert shop.run(*unserved, "--wait-for-model").exit_code == 2


def test_a_control_character_in_a_name_never_reaches_the_terminal(
    shop: Shop, tmp_path: Path
) -> None:
    folder_of(tmp_path, "a\x1b[31m.png", "b\n.png")
    result = shop.run("submit", tmp_path, "-i", "red")

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-i", "red"], "Name photographs, a folder, or a manifest"),
        (["a.png"], "Say what to change: -i INSTRUCTION."),
        (["a.png", "-i", "x", "--key", "k", "--again"], "with --key, choose another key"),
        (["-", "-i", "x", "--with", "-"], "'-' stands there twice"),
        (["a.png", "-i", "x", "-o", "-", "--json"], "both want standard output"),
        (["a.png", "-i", "x", "--metadata", "sku"], "'sku' is not of the form NAME=VALUE"),
        (["a.png", "-i", "x", "--keep-for", "long"], "'long' is no duration"),
    ],
)
def test_options_that_make_no_sense_are_refused(shop: Shop, args: list[str], says: str) -> None:
    result = shop.run("submit", *args)

    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_a_key_is_for_one_photograph(shop: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png")
    result = shop.run("submit", tmp_path, "-i", "red", "--key", "k")

    assert result.stderr == "packshot: --key: one key is for one photograph, got 2\n"
    assert shop.jobs == []


def test_a_key_of_another_request_is_a_conflict(shop: Shop) -> None:
    shop.run("submit", "-", "-i", "red", "--key", "k", stdin=photo())
    result = shop.run("submit", "-", "-i", "blue", "--key", "k", stdin=photo())

    assert result.exit_code == 5
    assert "idempotency key 'k' belongs to job" in result.stderr


@pytest.mark.parametrize("where", ["ledger", "artifacts"])
def test_an_outage_is_one_line_however_many_photographs(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("S3 at host:9000/packshot does not answer: NewConnectionError")

    monkeypatch.setattr(getattr(shop, where), {"ledger": "submit", "artifacts": "put"}[where], away)
    folder_of(tmp_path, *(f"{number}.png" for number in range(20)))
    result = shop.run("submit", tmp_path, "-i", "red")

    assert result.exit_code == 6
    assert result.stderr.splitlines() == [
        "packshot: S3 at host:9000/packshot does not answer: NewConnectionError"
    ]


def test_after_an_outage_no_other_upload_is_tried(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def away(*args: object, **_: object) -> None:
        tried.append(args)
        raise Unavailable("S3 does not answer")

    monkeypatch.setattr(shop.artifacts, "put", away)
    folder_of(tmp_path, *(f"{number}.png" for number in range(40)))
    shop.run("submit", tmp_path, "-i", "red")

    assert 1 <= len(tried) <= 16


def test_a_photograph_that_cannot_even_be_looked_at_is_named(shop: Shop, tmp_path: Path) -> None:
    result = shop.run("submit", "x" * 300, "-i", "red", "-o", tmp_path / "out")

    assert result.exit_code == 2
    assert result.stderr.endswith("x: cannot be read: File name too long\n")


def test_standard_input_beyond_the_limit_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 10)
    result = shop.run("submit", "-", "-i", "red", stdin=photo())

    assert result.exit_code == 2
    assert "stdin: more than" in result.stderr
