"""python -m worker.engine.tiny.evaluate FOLDER: the share of right edits, as JSON.

Runs the real engine on drawn products, in any wording the checkpoint was trained on, half
of them in English.  Equal arguments give equal cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.model import EditRequest
from worker.engine.base import Engine
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.tiny.judge import Verdict, judge
from worker.engine.tiny.phrases import Language, instruction
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind

MODEL = "qwen-image-edit-2509-tiny"


@dataclass(frozen=True, kw_only=True)
class Case:
    scene: Scene
    edit: Edit
    language: Language
    instruction: str


def held_out_cases(kind: EditKind, count: int, seed: int) -> Iterator[Case]:
    """Cases of one kind, the languages in turn."""
    rng = np.random.default_rng([seed, list(EditKind).index(kind)])
    languages = list(Language)
    made = 0
    while made < count:
        scene = Scene.random(rng)
        if kind not in scene.edits:
            continue
        edit, language = scene.random_edit(rng, kind), languages[made % len(languages)]
        text = instruction(rng, scene, edit, language)
        yield Case(scene=scene, edit=edit, language=language, instruction=text)
        made += 1


def run(engine: Engine, case: Case, *, profile: str, seed: int) -> Verdict:
    request = EditRequest(
        pictures=("0" * 64,), instruction=case.instruction, model=MODEL, profile=profile
    )
    picture = engine.edit(
        [case.scene.picture()], request, seed=seed, on_step=lambda _done, _total: None
    )
    return judge(picture, case.scene, case.edit)


def _summary(results: Sequence[tuple[Case, Verdict]]) -> dict[str, Any]:
    def share(language: Language) -> float:
        return _mean([one.right for case, one in results if case.language is language])

    return {
        "cases": len(results),
        "right_share": _mean([one.right for _, one in results]),
        "edited_part_right_share": _mean([one.edit_right for _, one in results]),
        "right_share_by_language": {language.value: share(language) for language in Language},
        "psnr_db": _mean([one.psnr_db for _, one in results]),
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.engine.tiny.evaluate")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--cases", type=int, default=30, help="of each kind (30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", default="quality")
    chosen = parser.parse_args()
    engine = DiffusersEngine.load(chosen.folder, card="cpu:0", model=MODEL)
    results = [
        (case, run(engine, case, profile=chosen.profile, seed=number))
        for kind in EditKind
        for number, case in enumerate(held_out_cases(kind, chosen.cases, chosen.seed))
    ]
    report = {"profile": chosen.profile, "all": _summary(results)}
    for kind in EditKind:
        report[kind.value] = _summary([one for one in results if one[0].edit.kind is kind])
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
