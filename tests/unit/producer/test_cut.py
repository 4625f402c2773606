"""Names in columns that are too narrow for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from rich.cells import cell_len

from producer.cli.cut import cut

WORDS = some.text(alphabet="ab-._/ 把背景换成纯白色é", max_size=60)


@given(text=WORDS, width=some.integers(1, 40))
def test_a_name_takes_no_more_room_than_there_is(text: str, width: int) -> None:
    found = cut(text, width)

    assert cell_len(found) <= width
    assert found == text or "…" in found


def test_a_name_keeps_its_beginning_and_its_end() -> None:
    assert cut("IMG_20260311_142233_front.jpg", 15) == "IMG_202…ont.jpg"
    assert cut("把背景换成纯白色", 9) == "把背…白色"
    assert cut("mug.jpg", 7) == "mug.jpg"
