from __future__ import annotations

import numpy as np
import pytest

from worker.engine.tiny.judge import judge
from worker.engine.tiny.language import Language
from worker.engine.tiny.outlines import Product
from worker.engine.tiny.phrases import instruction
from worker.engine.tiny.samples import sample_products
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind


def scene_with(kind: EditKind, seed: int = 0) -> tuple[Scene, Edit]:
    rng = np.random.default_rng(seed)
    while True:
        scene = Scene.random(rng)
        if kind in scene.edits:
            return scene, scene.random_edit(rng, kind)


def test_equal_seeds_draw_equal_pictures() -> None:
    one, two = (Scene.random(np.random.default_rng(5)).picture() for _ in range(2))

    assert one.tobytes() == two.tobytes()
    assert (one.size, one.mode) == ((128, 128), "RGB")


@pytest.mark.parametrize("product", Product)
def test_every_product_can_be_drawn_at_any_size(product: Product) -> None:
    scene = Scene.random(np.random.default_rng(1), product)

    picture = scene.picture(300, 200)

    assert picture.size == (300, 200)
    assert 0.02 < scene.masks(300, 200).product.mean() < 0.7


@pytest.mark.parametrize("kind", EditKind)
def test_an_edit_changes_only_its_part(kind: EditKind) -> None:
    scene, edit = scene_with(kind)
    masks = scene.masks()

    before, after = (np.asarray(one.picture(), np.float32) for one in (scene, scene.after(edit)))
    changed = np.abs(before - after).max(-1) > 2

    assert changed.any()
    if kind is EditKind.BACKGROUND:
        assert not changed[masks.product > 0.999].any()
    else:
        assert not changed[masks.product < 0.001].any()


@pytest.mark.parametrize("kind", EditKind)
def test_the_exact_target_is_right_and_the_source_is_not(kind: EditKind) -> None:
    scene, edit = scene_with(kind)

    target, source = (
        judge(picture, scene, edit) for picture in (scene.after(edit).picture(), scene.picture())
    )

    assert target.right
    assert target.psnr_db > 60
    assert not source.right


def test_an_edit_of_something_else_is_not_right() -> None:
    scene, edit = scene_with(EditKind.BACKGROUND)
    other = scene.random_edit(np.random.default_rng(0), EditKind.RECOLOUR)

    verdict = judge(scene.after(other).picture(), scene, edit)

    assert not verdict.edit_right
    assert not verdict.rest_stays


def test_no_logo_cannot_be_removed() -> None:
    scene, _ = scene_with(EditKind.ADD_LOGO)

    with pytest.raises(ValueError, match="no logo"):
        scene.random_edit(np.random.default_rng(0), EditKind.REMOVE_LOGO)


@pytest.mark.parametrize("kind", EditKind)
def test_instructions_come_in_both_languages(kind: EditKind) -> None:
    scene, edit = scene_with(kind)
    rng = np.random.default_rng(0)

    english = [instruction(rng, scene, edit, Language.ENGLISH) for _ in range(20)]
    chinese = [instruction(rng, scene, edit, Language.CHINESE) for _ in range(20)]

    assert all(text.isascii() for text in english)
    assert not any(text.isascii() for text in chinese)
    assert len(set(english)) > 5
    assert not any("{" in text for text in english + chinese)


def test_samples_show_every_product_in_both_languages() -> None:
    samples = sample_products(12, seed=3)

    assert [one.language for one in samples[:2]] == [Language.ENGLISH, Language.CHINESE]
    assert {one.scene.product for one in samples} == set(Product)
    assert {one.edit.kind for one in samples} == set(EditKind) - {EditKind.ADD_LOGO}
    assert len({one.name for one in samples}) == 12
    assert samples[0].instruction.startswith("Change the background to ")


def test_equal_seeds_give_equal_samples() -> None:
    one, two = (sample_products(6, seed=3, side=64) for _ in range(2))

    assert [sample.picture.tobytes() for sample in one] == [
        sample.picture.tobytes() for sample in two
    ]
    assert one[0].picture.size == (64, 64)
