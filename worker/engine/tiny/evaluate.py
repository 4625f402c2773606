"""python -m worker.engine.tiny.evaluate FOLDER: the share of right edits of a checkpoint.

Runs the real engine on drawn products that it was not trained on, in wordings that it was
trained on and in others, half of them in English; and, in the former, by each profile that the
checkpoint has.  Equal arguments give equal cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import model_row
from worker.engine.tiny.cases import MODEL, Judged, all_kinds, report, run_all
from worker.engine.tiny.language import Language, spoken


def evaluated(
    engine: DiffusersEngine, *, cases: int, seed: int, profile: str, languages: Sequence[Language]
) -> dict[str, Any]:
    """Shares of all cases, and apart of those in seen and in unseen wordings; by profile too."""
    held_out = partial(all_kinds, cases, seed, languages=languages)
    seen = run_all(engine, held_out(unseen=False), profile=profile, wrong=WRONG)
    unseen = run_all(engine, held_out(unseen=True), profile=profile)
    others = {
        name: run_all(engine, held_out(unseen=False), profile=name)
        for name in engine.model.profiles
        if name != profile
    }
    return {
        "model": MODEL,
        "revision": engine.model.revision,
        "profile": profile,
        "cases_of_each_type": cases,
        "seed": seed,
        **figures(seen, unseen),
        "profiles": by_profile({profile: seen, **others}),
    }


def figures(seen: Sequence[Judged], unseen: Sequence[Judged]) -> dict[str, Any]:
    """Those of the seen phrasings, and both apart."""
    whole, other = report(seen), report(unseen)
    return {
        **{key: value for key, value in whole.items() if key != "mistakes"},
        "seen_phrasings": {key: whole[key] for key in _SHARES},
        "unseen_phrasings": {key: other[key] for key in _SHARES},
    }


def by_profile(results: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """The same cases and noise in each; ``lost`` and ``won`` against the first of them.

    Those two tell profiles apart sooner than their shares do: what is hard in both says nothing.
    """
    (first, *_) = results.values()
    return {name: _profile(name, results[name], first) for name in results}


def _profile(name: str, results: Sequence[Judged], first: Sequence[Judged]) -> dict[str, Any]:
    row, whole = model_row(MODEL), report(results)
    (profile,) = (one for one in row.profiles if one.name == name)
    pairs = [
        (here.verdict.right, there.verdict.right)
        for here, there in zip(results, first, strict=True)
    ]
    return {
        "steps": profile.steps,
        "guidance": profile.guidance,
        **{key: whole[key] for key in _SHARES if key != "mistakes"},
        "lost": pairs.count((False, True)),
        "won": pairs.count((True, False)),
    }


#: of each type, at most, that are edited by a wrong instruction too
WRONG: Final = 30
_SHARES: Final = (
    "right_share",
    "right_share_margin",
    "right_share_by_type",
    "right_share_by_language",
    "psnr_db",
    "mistakes",
)


def table(shares: Mapping[str, Any]) -> str:
    seen, unseen = shares["seen_phrasings"], shares["unseen_phrasings"]
    lines = [f"{'':14}{'seen':>8}{'unseen':>8}   right edits, by phrasing"]

    def line(name: str, one: float | None, other: float | None) -> None:
        lines.append(f"{name:14}{_percent(one):>8}{_percent(other):>8}")

    for group in ("right_share_by_type", "right_share_by_language"):
        for name, share in seen[group].items():
            line(name, share, unseen[group][name])
    line("all", seen["right_share"], unseen["right_share"])
    line("  +-", seen["right_share_margin"], unseen["right_share_margin"])
    lines.append(f"{shares['psnr_db']:.1f} dB to the exact targets")
    if (wrong := shares["wrong_instruction_share"]) is not None:
        lines.append(f"{_percent(wrong)} right by a wrong instruction")
    lines.append(f"{shares['cases']} cases of each column")
    return "\n".join(lines) + "\n"


def profile_table(profiles: Mapping[str, Any]) -> str:
    lines = [f"{'profile':14}{'steps':>8}{'right':>8}{'dB':>8}{'lost':>8}{'won':>8}"]
    lines += [
        f"{name:14}{one['steps']:8}{_percent(one['right_share']):>8}{one['psnr_db']:8.1f}"
        f"{one['lost']:8}{one['won']:8}"
        for name, one in profiles.items()
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.engine.tiny.evaluate")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--cases", type=int, default=30, help="of each type of edit (30)")
    parser.add_argument("--seed", type=int, default=0, help="below 1000000: not trained on (0)")
    parser.add_argument(
        "--languages",
        type=spoken,
        default=list(Language),
        metavar="EN,ZH",
        help="asked in turn (en,zh); one of them: of the same scenes",
    )
    parser.add_argument("--profile", default="quality", help="to judge, and to compare with")
    parser.add_argument("--card", default="cpu:0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    chosen = parser.parse_args()
    measured = evaluated(
        DiffusersEngine.load(chosen.folder, card=chosen.card, model=MODEL),
        cases=chosen.cases,
        seed=chosen.seed,
        profile=chosen.profile,
        languages=chosen.languages,
    )
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(measured)}\n{profile_table(measured['profiles'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
