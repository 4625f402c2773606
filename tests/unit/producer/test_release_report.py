"""What each release's attempts came to, from a ledger with two of them."""

from __future__ import annotations

import io
import json
import math
import random
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pytest
from PIL import Image

from jobs import model
from jobs.errors import FailureClass, InvalidRequest, Unavailable
from jobs.model import ArtifactKey, Failure, JobId, WorkerInfo
from producer.cli.release_report import ReleaseFigures, Seconds, by_release, psnr
from tests.unit.producer.shop import WORKER, Shop, photo

OLD, NEW = "a" * 64, "b" * 64


def worker(release: str | None, card: str = "gpu-0") -> WorkerInfo:
    return WorkerInfo(
        id=uuid5(NAMESPACE_DNS, f"{release}{card}"),
        holder=f"host/{card}/1",
        card=card,
        model=WORKER.model,
        release=release,
    )


class Floor:
    """Jobs that are done at once, by workers of whichever release."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def done(
        self,
        release: str | None,
        *,
        card: str = "gpu-0",
        seconds: float = 2.0,
        picture: bytes = b"",
        **metadata: str,
    ) -> JobId:
        lease = self._claimed(worker(release, card), metadata)
        key = model.output_key(lease)
        data = picture or photo()
        self.shop.artifacts.put(key, data, media_type="image/png")
        made = model.Result(
            key=key, sha256="0" * 64, bytes=len(data), media_type="image/png", width=1, height=1
        )
        timings = {"card": seconds, "total": seconds + 1}
        return self.shop.ledger.complete(lease, made, timings=timings).id

    def failed(self, release: str | None, failure_class: FailureClass) -> None:
        failure = Failure(failure_class=failure_class, code="oops", message="oops")
        self.shop.ledger.fail(self._claimed(worker(release), {}), failure)

    def handed_back(self, release: str | None) -> None:
        lease = self._claimed(worker(release), {})
        self.shop.ledger.hand_back(lease, why="drain")
        self.shop.ledger.cancel(lease.job.id, who="test")

    def _claimed(self, info: WorkerInfo, metadata: dict[str, str]) -> model.Lease:
        self.shop.ledger.register(info)
        request = model.EditRequest(pictures=("0" * 64,), instruction="make it red")
        new = model.NewJob(
            request=request, metadata=metadata, salt=str(random.random()), max_failures=1
        )
        (found,) = self.shop.ledger.submit([new])
        assert not isinstance(found, Exception)
        lease = self.shop.ledger.claim(found.job.id, info)
        assert lease is not None
        return lease


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def figures(shop: Shop, **asked: object) -> dict[str | None, ReleaseFigures]:
    found = by_release(shop.client(), **asked)  # type: ignore[arg-type]
    return {one.release: one for one in found.releases}


def noisy(level: int, size: tuple[int, int] = (32, 32)) -> bytes:
    """Grey, with this much noise."""
    dice = random.Random(7)
    picture = Image.new("L", size, 128)
    picture.putdata([128 + dice.randint(-level, level) for _ in range(size[0] * size[1])])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_errors_are_counted_by_class_and_release(shop: Shop, floor: Floor) -> None:
    for card in ("gpu-0", "gpu-1"):
        floor.done(OLD, card=card)
    floor.done(NEW)
    floor.failed(NEW, FailureClass.RESOURCE)
    floor.failed(NEW, FailureClass.RESOURCE)
    floor.failed(NEW, FailureClass.WORKER_FATAL)

    found = figures(shop)

    assert (found[OLD].attempts, found[OLD].cards, found[OLD].error_rate) == (2, 2, 0)
    assert found[NEW].errors == {"resource": 2, "worker-fatal": 1}
    assert (found[NEW].out_of_memory, found[NEW].error_rate) == (2, 0.75)


def test_what_was_handed_back_is_neither_good_nor_bad(shop: Shop, floor: Floor) -> None:
    floor.done(OLD)
    floor.handed_back(OLD)

    assert figures(shop)[OLD].attempts == 1


def test_seconds_are_those_on_the_card_and_in_all(shop: Shop, floor: Floor) -> None:
    for seconds in range(1, 101):
        floor.done(OLD, seconds=seconds)

    spent = figures(shop)[OLD].seconds

    assert spent["card"] == Seconds(count=100, median=50, p95=95, low=41, high=61)
    assert spent["total"] is not None
    assert spent["total"].median == 51


def test_the_baseline_is_what_most_attempts_ran_on(shop: Shop, floor: Floor) -> None:
    floor.done(NEW)
    floor.done(None)
    for _ in range(2):
        floor.done(OLD)

    found = by_release(shop.client())

    assert found.baseline == OLD
    assert [one.release for one in found.releases] == [OLD, None, NEW]
    assert by_release(shop.client(), baseline=NEW).baseline == NEW


@pytest.mark.parametrize("name", ["", "c" * 64, "2026.11.27-1"])
def test_a_baseline_is_one_that_ran_and_may_be_cut_short(
    shop: Shop, floor: Floor, name: str
) -> None:
    floor.done(OLD, picture=noisy(0), golden="mug")
    floor.done(NEW, picture=noisy(0), golden="mug")

    found = by_release(shop.client(), baseline=OLD[:12])

    assert found.baseline == OLD
    assert [one.golden for one in found.releases] == [{"mug": 100.0}] * 2
    with pytest.raises(InvalidRequest, match="aaaaaaaaaaaa, bbbbbbbbbbbb; --within"):
        by_release(shop.client(), baseline=name)


def test_a_baseline_that_another_release_begins_with_is_itself(shop: Shop, floor: Floor) -> None:
    for release in ("2026.1", "2026.10"):
        floor.done(release)

    assert by_release(shop.client(), baseline="2026.1").baseline == "2026.1"


def test_a_golden_picture_is_compared_with_the_baselines(shop: Shop, floor: Floor) -> None:
    for _ in range(3):
        floor.done(OLD, picture=noisy(0), golden="mug")
    floor.done(OLD, picture=noisy(0), golden="shirt")
    floor.done(NEW, picture=noisy(0), golden="mug")
    floor.done(NEW, picture=noisy(40), golden="shirt")
    floor.done(NEW, picture=noisy(0), golden="unknown to the baseline")

    found = figures(shop)

    assert found[OLD].golden == {"mug": 100.0, "shirt": 100.0}
    assert found[NEW].golden == {"mug": 100.0, "shirt": pytest.approx(21, abs=2)}


def test_a_golden_picture_is_compared_with_a_folders(
    shop: Shop, floor: Floor, tmp_path: Path
) -> None:
    (tmp_path / "mug.png").write_bytes(noisy(2))
    floor.done(OLD, picture=noisy(0), golden="mug")
    floor.done(OLD, picture=noisy(0), golden="shirt")

    found = figures(shop, golden=tmp_path)

    assert set(found[OLD].golden) == {"mug"}
    assert 40 < found[OLD].golden["mug"] < 60


def test_the_newest_picture_of_a_name_counts(shop: Shop, floor: Floor, tmp_path: Path) -> None:
    (tmp_path / "mug.png").write_bytes(noisy(0))
    floor.done(NEW, picture=noisy(60), golden="mug")
    floor.done(NEW, picture=noisy(0), golden="mug")

    assert figures(shop, golden=tmp_path)[NEW].golden == {"mug": 100.0}


def test_a_picture_that_has_expired_is_not_compared(shop: Shop, floor: Floor) -> None:
    job = shop.ledger.get(floor.done(OLD, golden="mug"))
    assert job.result is not None
    shop.artifacts.delete([ArtifactKey(job.result.key)])

    assert figures(shop)[OLD].golden == {}


def test_a_bucket_that_is_away_is_not_nothing_to_compare(shop: Shop, floor: Floor) -> None:
    floor.done(OLD, golden="mug")

    def away(key: ArtifactKey) -> bytes:
        raise Unavailable(f"{key}: S3 does not answer")

    shop.artifacts.get = away  # type: ignore[method-assign]

    with pytest.raises(Unavailable):
        by_release(shop.client())


def test_a_folder_without_pictures_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no pictures in"):
        by_release(shop.client(), golden=tmp_path)


def test_pictures_of_different_sizes_have_nothing_in_common() -> None:
    assert psnr(noisy(0), noisy(0, (16, 64))) == 0.0


def test_the_ratio_is_that_of_the_textbook() -> None:
    one, other = (photo(f"rgb({level}, {level}, {level})") for level in (100, 110))

    assert psnr(one, other) == pytest.approx(10 * math.log10(255**2 / 100))


def _transparent(alpha: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (64, 48), (9, 9, 9, alpha)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_that_lost_its_transparency_is_another_one() -> None:
    clear, half = (_transparent(level) for level in (255, 128))

    assert psnr(clear, half) == pytest.approx(10 * math.log10(255**2 / 127**2))
    assert psnr(clear, photo("rgb(9, 9, 9)")) == 100.0


def test_nothing_ended_gives_an_empty_report(shop: Shop) -> None:
    found = by_release(shop.client(), within=timedelta(hours=1))

    assert (found.baseline, found.releases) == (None, ())


def test_the_command_answers_what_the_judge_reads(shop: Shop, floor: Floor) -> None:
    floor.done(OLD, golden="mug")
    floor.done(NEW, golden="mug")

    (found,) = shop.json("report", "--by", "release", "--within", "2h", "--baseline", OLD)

    assert (found["by"], found["baseline"], found["within_seconds"]) == ("release", OLD, 7200)
    row = next(one for one in found["releases"] if one["release"] == NEW)
    assert row["golden"] == {"compared": 1, "psnr_min": 100.0, "psnr": {"mug": 100.0}}
    assert row["seconds"]["card"]["count"] == 1
    assert json.dumps(row)


def test_a_person_sees_a_line_per_release(shop: Shop, floor: Floor) -> None:
    floor.done(OLD, golden="mug")
    floor.failed(NEW, FailureClass.LOST)

    told = shop.run("report", "--by", "release", "--baseline", OLD).stdout

    assert "100.0 dB" in told
    assert "100.00%" in told


def test_releases_are_not_of_a_batch(shop: Shop) -> None:
    result = shop.run("report", "--by", "release", "--batch", "spring")

    assert result.exit_code == 2
    assert "do not go together" in result.output
