"""python -m worker.engine.tiny.training STAGE: train the small checkpoint (docs/tiny.md)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from worker.engine.tiny.language import Language, spoken

if TYPE_CHECKING:
    from worker.engine.tiny.training.stages import Pace, Stages

Stage = Literal["begin", "vae", "data", "train", "cool", "judge", "export", "all"]
FOLDER: Final = Path("build/tiny")
SHARDS: Final = 12
COOLDOWN: Final = 100_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.engine.tiny.training")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of the state ({FOLDER})")
    parser.add_argument("--device", default="", help="cpu or cuda (cuda where there is one)")
    parser.add_argument("--threads", type=int, default=2, help="on the CPU (2)")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    begin = stages.add_parser("begin", help="go on from an exported checkpoint")
    begin.add_argument("checkpoint", type=Path, metavar="FOLDER")
    vae = stages.add_parser("vae", help="train the autoencoder, first of all and once")
    vae.add_argument("--samples", type=int, help="in all: the rate falls towards them")
    data = stages.add_parser("data", help="draw scenes, and encode them with it")
    data.add_argument("--shards", type=int, default=SHARDS, help=f"({SHARDS})")
    data.add_argument("--reword", action="store_true", help="say anew what is there already")
    train = stages.add_parser("train", help="train text encoder and transformer, go on for ever")
    cool = stages.add_parser("cool", help="a copy of it, the rate falling to zero")
    cool.add_argument("--samples", type=int, default=COOLDOWN, help=f"({COOLDOWN})")
    for stage in (vae, train, cool):
        stage.add_argument("--minutes", type=float, help="stop then; the next run goes on")
        stage.add_argument("--batch", type=int)
    for stage in (train, cool):
        stage.add_argument("--rate", type=float, help="of learning, before it falls")
    judge = stages.add_parser("judge", help="the share of right edits, in batches")
    judge.add_argument("--cases", type=int, default=30, help="of each type of edit (30)")
    judge.add_argument("--languages", type=spoken, default=list(Language), metavar="EN,ZH")
    judge.add_argument("--state", type=Path, help="a cooldown's; otherwise the training's")
    export = stages.add_parser("export", help="write what is learnt as the engine loads it")
    export.add_argument("out", type=Path, metavar="OUT_DIR")
    export.add_argument("--state", type=Path, help="a cooldown's; otherwise the training's")
    everything = stages.add_parser("all", help="vae, data, then train")
    everything.add_argument("--minutes", type=float)
    everything.add_argument("--shards", type=int, default=SHARDS)
    return parser


def _stages(chosen: argparse.Namespace) -> Stages:
    """Torch is loaded here, after a wrong command line was refused."""
    import torch  # noqa: PLC0415

    from worker.engine.tiny.training.autoencoder import How  # noqa: PLC0415
    from worker.engine.tiny.training.stages import Stages  # noqa: PLC0415

    torch.set_num_threads(chosen.threads)
    device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cores = os.cpu_count() or 1
    return Stages(
        folder=chosen.folder,
        how=How(device=device),
        processes=cores if device == "cuda" else 1,
    )


def _pace(chosen: argparse.Namespace) -> Pace:
    from worker.engine.tiny.training.stages import Pace  # noqa: PLC0415

    return Pace(batch=chosen.batch, rate=chosen.rate)


def main() -> int:
    chosen = _parser().parse_args()
    stages = _stages(chosen)
    stage: Stage = chosen.stage
    match stage:
        case "begin":
            stages.begin(chosen.checkpoint)
        case "vae":
            stages.vae(chosen.samples, minutes=chosen.minutes, batch=chosen.batch)
        case "data":
            stages.data(chosen.shards, reword=chosen.reword)
        case "train":
            stages.train(_pace(chosen), minutes=chosen.minutes)
        case "cool":
            stages.cool(chosen.samples, _pace(chosen), minutes=chosen.minutes)
        case "judge":
            stages.judge(chosen.cases, chosen.languages, chosen.state)
        case "export":
            stages.export(chosen.out, chosen.state)
        case "all":
            stages.everything(minutes=chosen.minutes, shards=chosen.shards)
    return 0


if __name__ == "__main__":
    sys.exit(main())
