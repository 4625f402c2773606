"""Held-out cases to judge a checkpoint by, and the shares of right edits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import Engine, edited
from worker.engine.tiny.judge import Verdict, judge
from worker.engine.tiny.language import Language
from worker.engine.tiny.phrases import instruction
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind

#: What is trained on is drawn from seeds that begin with this number or a larger one.
TRAINED_SEEDS: Final = 1_000_000
MODEL: Final = "qwen-image-edit-2509-tiny"


@dataclass(frozen=True, kw_only=True)
class Case:
    number: int  #: among those of its kind; the noise's seed too
    scene: Scene
    edit: Edit
    language: Language
    instruction: str
    unseen: bool  #: whether no training used the wording
    #: an instruction for another kind of edit of the same picture
    wrong_instruction: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    case: Case
    verdict: Verdict
    #: of the picture made by the wrong instruction, against what was asked for
    wrong: Verdict | None = None


def held_out_cases(
    kind: EditKind,
    count: int,
    seed: int,
    *,
    unseen: bool,
    languages: Sequence[Language] = tuple(Language),
) -> Iterator[Case]:
    """Cases of one kind, the languages in turn; equal arguments give equal cases.

    Seen and unseen wordings come with the same scenes, and so do all languages.
    """
    if seed >= TRAINED_SEEDS:
        raise ValueError(f"seed: below {TRAINED_SEEDS}, larger ones were trained on; got {seed}")
    rng = np.random.default_rng([seed, list(EditKind).index(kind)])
    words = np.random.default_rng([seed, list(EditKind).index(kind), 1 + unseen])
    made = 0
    while made < count:
        scene = Scene.random(rng)
        if kind not in scene.edits:
            continue
        edit, language = scene.random_edit(rng, kind), languages[made % len(languages)]
        other = EditKind.RECOLOUR if kind is EditKind.BACKGROUND else EditKind.BACKGROUND
        wrong = scene.random_edit(rng, other)
        yield Case(
            number=made,
            scene=scene,
            edit=edit,
            language=language,
            instruction=instruction(words, scene, edit, language, unseen=unseen),
            unseen=unseen,
            wrong_instruction=instruction(words, scene, wrong, language, unseen=unseen),
        )
        made += 1


def all_kinds(
    count: int, seed: int, *, unseen: bool, languages: Sequence[Language] = tuple(Language)
) -> Iterator[Case]:
    """``count`` held-out cases of each kind."""
    for kind in EditKind:
        yield from held_out_cases(kind, count, seed, unseen=unseen, languages=languages)


def run(engine: Engine, case: Case, *, profile: str, wrong: bool = False) -> Judged:
    """Edit and judge; ``wrong``: once more by the wrong instruction."""

    def made(text: str) -> Image.Image:
        request = EditRequest(pictures=("0" * 64,), instruction=text, model=MODEL, profile=profile)
        return edited(engine, [case.scene.picture()], request, seed=case.number)

    verdict = judge(made(case.instruction), case.scene, case.edit)
    if not wrong:
        return Judged(case=case, verdict=verdict)
    other = judge(made(case.wrong_instruction), case.scene, case.edit)
    return Judged(case=case, verdict=verdict, wrong=other)


def run_all(engine: Engine, cases: Iterable[Case], *, profile: str, wrong: int = 0) -> list[Judged]:
    """The first ``wrong`` cases of each kind by a wrong instruction too."""
    return [run(engine, case, profile=profile, wrong=case.number < wrong) for case in cases]


def report(results: Sequence[Judged]) -> dict[str, Any]:
    """Shares go from 0 to 1; ``None`` where there was no such case."""
    verdicts = [one.verdict for one in results]
    wrong = [one.wrong.right for one in results if one.wrong is not None]
    return {
        "cases": len(results),
        "right_share": _mean([one.right for one in verdicts]),
        "right_share_by_type": {
            kind.value: _right_share([one for one in results if one.case.edit.kind is kind])
            for kind in EditKind
        },
        "right_share_by_language": {
            language.value: _right_share([one for one in results if one.case.language is language])
            for language in Language
        },
        "right_share_margin": _margin([one.right for one in verdicts]),
        "edited_part_right_share": _mean([one.edit_right for one in verdicts]),
        "psnr_db": _mean([one.psnr_db for one in verdicts]),
        "wrong_instruction_share": _mean(wrong),
        "mistakes": [_told(one) for one in results if not one.verdict.right],
    }


def _told(one: Judged) -> dict[str, Any]:
    return {
        "type": one.case.edit.kind.value,
        "colour": one.case.edit.colour,
        "instruction": one.case.instruction,
        "edit_right": one.verdict.edit_right,
        "rest_stays": one.verdict.rest_stays,
        "psnr_db": round(one.verdict.psnr_db, 1),
    }


def _right_share(results: Sequence[Judged]) -> float | None:
    return _mean([one.verdict.right for one in results])


def _margin(values: Sequence[bool]) -> float | None:
    """Half of the binomial 95 % interval about the share."""
    if not values:
        return None
    share = float(np.mean(values))
    return round(1.96 * float(np.sqrt(share * (1 - share) / len(values))), 3)


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None
