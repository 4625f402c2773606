"""What a picture costs the host beside the model: ``python -m benchmarks.around``.

CPU seconds of this process (user and system: what else runs on the machine hardly counts) and
the most memory that Python holds at once (``tracemalloc``; Pillow's pixels are not in it), each
the least of some rounds, against an S3 server of the script's own.
"""

from __future__ import annotations

import gc
import hashlib
import io
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

from PIL import Image

from benchmarks.results import show, write
from benchmarks.servers import started
from jobs import pictures
from jobs.model import ArtifactKey, OutputFormat
from jobs.s3 import S3Store

ROUNDS: Final = 5
SIDES: Final = {"1 MP": (1024, 1024), "20 MP": (5472, 3648)}
MB: Final = 1e6


def main() -> None:
    rows = []
    with started() as servers:
        store = S3Store.from_url(servers.environment()["PACKSHOT_S3_URL"])
        store.make_bucket()
        for name, size in SIDES.items():
            rows += [[name, *row] for row in measured(store, name, photo(size))]
    show("Beside the model", ("picture", "step", "MB", "CPU ms", "peak MB"), rows)
    keys = ("picture", "step", "megabytes", "cpu_ms", "peak_megabytes")
    write("around", {"rows": [dict(zip(keys, row, strict=True)) for row in rows]})


def photo(size: tuple[int, int]) -> Image.Image:
    """Soft shapes and a sensor's noise: a PNG of it is about half of its pixels."""
    soft = Image.radial_gradient("L").resize(size, Image.Resampling.BICUBIC)
    noise = Image.effect_noise(size, 6.0)
    return Image.merge("RGB", (soft, Image.blend(soft, noise, 0.1), noise))


def measured(store: S3Store, name: str, image: Image.Image) -> list[list[object]]:
    data = pictures.encode(image, OutputFormat.PNG)
    key = ArtifactKey(f"bench/{name.replace(' ', '-')}")
    steps: dict[str, Callable[[], object]] = {
        "read a file and hash it": lambda: hashlib.sha256(io.BytesIO(data).read()).digest(),
        "check it (producer)": lambda: pictures.inspect(data, name=name),
        "upload": lambda: store.put(key, data, media_type="image/png"),
        "fetch": lambda: store.get(key),
        "decode": lambda: pictures.decode_all(data, name=name),
        "encode, PNG": lambda: pictures.encode(image, OutputFormat.PNG),
        "encode, JPEG": lambda: pictures.encode(image, OutputFormat.JPEG),
    }
    return [[step, len(data) / MB, *costs(act)] for step, act in steps.items()]


def costs(act: Callable[[], object]) -> tuple[float, float]:
    """CPU milliseconds and peak megabytes, the latter beside what was there before."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    gc.collect()
    tracemalloc.start()
    act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times) * 1e3, peak / MB


if __name__ == "__main__":
    main()
