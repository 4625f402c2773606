from __future__ import annotations

import re

import numpy as np
import pytest

from worker.engine.tiny.cases import TRAINED_SEEDS, held_out_cases
from worker.engine.tiny.language import Language, Words
from worker.engine.tiny.palette import PALETTE
from worker.engine.tiny.phrases import SPEECHES, instruction
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind
from worker.engine.tiny.training.families import PICTURES, Family


@pytest.fixture(scope="module")
def families() -> list[Family]:
    return [Family.random(np.random.default_rng([TRAINED_SEEDS, number])) for number in range(30)]


def test_a_familys_pairs_are_exact_edits(families: list[Family]) -> None:
    family = families[0]
    for pair in family.pairs():
        wanted = family.scene_of(pair.target).picture(32, 32)
        made = family.scene_of(pair.source).after(pair.edit).picture(32, 32)

        assert made.tobytes() == wanted.tobytes()
        assert made.tobytes() != family.scene_of(pair.source).picture(32, 32).tobytes()


def test_every_kind_of_edit_comes_from_every_kind_of_source(families: list[Family]) -> None:
    for family in families:
        pairs = list(family.pairs())

        assert len(family.states) == PICTURES
        assert len(pairs) >= 34
        for kind in (EditKind.REMOVE_LOGO, EditKind.ADD_LOGO):
            assert sum(pair.edit.kind is kind for pair in pairs) == PICTURES // 2


def test_an_edit_asks_for_no_colour_that_would_hide_it(families: list[Family]) -> None:
    for family in families:
        for pair in family.pairs():
            state = family.states[pair.source]
            if pair.edit.kind is not EditKind.REMOVE_LOGO:
                assert pair.edit.colour != state.product_colour
            if pair.edit.kind is EditKind.RECOLOUR:
                assert pair.edit.colour not in {state.background.colour, state.logo_colour}


def sentences(language: Language, templates: Words) -> set[str]:
    """With every name of background and logo, and every opening and urging."""
    speech = SPEECHES[language]
    said = {
        re.sub(r"[{} ]|logo_colour", "", one.replace("{ground}", ground).replace("{mark}", mark))
        for one in templates
        for ground in set(speech.grounds)
        for mark in set(speech.marks)
    }
    before = {
        re.sub(" ", "", opening + urging)
        for opening in speech.openings
        for urging in speech.urgings
    }
    return {(opening + text).lower() for opening in before for text in said}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", EditKind)
def test_unseen_wordings_are_no_seen_ones(language: Language, kind: EditKind) -> None:
    speech = SPEECHES[language]
    seen, unseen = speech.templates[kind], speech.unseen_templates[kind]

    assert not sentences(language, seen) & sentences(language, unseen)
    assert len(set(seen)) == len(seen) >= 45
    assert len(set(unseen)) == len(unseen) >= 12


@pytest.mark.parametrize("language", Language)
def test_a_slip_touches_one_word_of_the_template_and_none_of_its_fields(
    language: Language,
) -> None:
    scene, kind = Scene.random(np.random.default_rng(0)), EditKind.BACKGROUND
    edit = Edit(kind=kind, colour="red")
    said = [
        instruction(np.random.default_rng(seed), scene, edit, language, slips=1)
        for seed in range(200)
    ]
    colours = PALETTE["red"].english if language is Language.ENGLISH else PALETTE["red"].chinese

    assert all(any(colour in text.lower() for colour in colours) for text in said)
    assert sum(any(ground in text for ground in SPEECHES[language].grounds) for text in said) < 190


@pytest.mark.parametrize("kind", EditKind)
def test_seen_and_unseen_wordings_come_with_the_same_scenes(kind: EditKind) -> None:
    seen, unseen = (list(held_out_cases(kind, 6, 3, unseen=unseen)) for unseen in (False, True))

    assert [one.edit for one in seen] == [one.edit for one in unseen]
    assert [one.scene.picture(16, 16).tobytes() for one in seen] == [
        one.scene.picture(16, 16).tobytes() for one in unseen
    ]
    assert all(
        one.instruction != other.instruction for one, other in zip(seen, unseen, strict=True)
    )


def test_both_languages_can_be_asked_of_the_same_scenes() -> None:
    english, chinese = (
        list(held_out_cases(EditKind.RECOLOUR, 4, 3, unseen=False, languages=[language]))
        for language in Language
    )

    assert [one.edit for one in english] == [one.edit for one in chinese]
    assert {one.language for one in chinese} == {Language.CHINESE}
    assert all(one.instruction.isascii() for one in english)


def test_scenes_that_were_trained_on_are_not_judged_by() -> None:
    with pytest.raises(ValueError, match="below 1000000"):
        next(held_out_cases(EditKind.BACKGROUND, 1, TRAINED_SEEDS, unseen=False))
