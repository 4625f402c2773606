"""A few steps on a toy: what a long training relies on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLQwenImage
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.tiny.language import Language
from worker.engine.tiny.sizes import LEAST
from worker.engine.tiny.states import EditKind
from worker.engine.tiny.tokenizer import train_tokenizer
from worker.engine.tiny.training.autoencoder import Autoencoder, How
from worker.engine.tiny.training.editor import Editor, Plan
from worker.engine.tiny.training.run import Limits
from worker.engine.tiny.training.shards import Library, Writer
from worker.engine.tiny.training.stages import Pace, Stages
from worker.engine.tiny.training.stills import for_stills

pytestmark = pytest.mark.engine
BATCH = 8
PLAN = Plan(batch=BATCH, rate=3e-3, warm_up=BATCH, compiled=False, report_every=BATCH * 1000)
TOY = How(device="cpu", compiled=False, pool=24)


@dataclass(frozen=True, kw_only=True)
class Toy:
    folder: Path
    shards: Sequence[Path]
    losses: Sequence[float]  #: of the autoencoder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two wait for each other at each tiny operation, for long where others compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def autoencoder(samples: int = 40 * BATCH) -> Autoencoder:
    return Autoencoder(LEAST, samples=samples, batch=BATCH, how=TOY)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """An autoencoder, a tokenizer and one shard of two families."""
    folder = tmp_path_factory.mktemp("training")
    trained = autoencoder()
    losses: list[float] = []
    plain = trained.learner.step
    trained.learner.step = lambda loss: note(losses, plain(loss))  # type: ignore[method-assign]
    assert trained.train(folder, minutes=None)
    train_tokenizer(0).save_pretrained(folder / "tokenizer")
    shard = writer(folder).write("0000", seed=1_000_000, families=2)
    return Toy(folder=folder, shards=[shard], losses=losses)


def note(losses: list[float], value: torch.Tensor) -> torch.Tensor:
    losses.append(float(value))
    return value


def writer(folder: Path) -> Writer:
    vae = AutoencoderKLQwenImage.from_pretrained(folder / "vae")
    return Writer(
        folder=folder / "shards", vae=for_stills(vae), tokenizer=train_tokenizer(0), device="cpu"
    )


def editor(toy: Toy) -> Editor:
    state = toy.folder / "editor.pt"
    return Editor(folder=toy.folder, state=state, sizes=LEAST, plan=PLAN, device="cpu")


def losses(learnt: Editor, toy: Toy, steps: int) -> list[float]:
    lesson = learnt.lesson(toy.shards)
    return [float(learnt.learner.step(lesson.loss)) for _ in range(steps)]


def test_the_autoencoder_learns(toy: Toy) -> None:
    assert np.mean(toy.losses[-5:]) < 0.7 * np.mean(toy.losses[:5])


def test_its_folder_holds_the_latents_spread_and_the_real_class(toy: Toy) -> None:
    vae = AutoencoderKLQwenImage.from_pretrained(toy.folder / "vae")
    library = Library.read(toy.shards, [1, 1, 1, 1], "cpu")

    assert vae.config.base_dim == LEAST.vae_base
    assert 0.3 < float(library.latents.float().std()) < 3


def test_the_editor_learns(toy: Toy) -> None:
    seen = losses(editor(toy), toy, 40)

    assert np.mean(seen[-8:]) < 0.8 * np.mean(seen[:4])


def test_a_resumed_run_goes_on_as_an_unbroken_one(toy: Toy, tmp_path: Path) -> None:
    unbroken = losses(editor(toy), toy, 6)
    first, second = editor(toy), editor(toy)
    losses(first, toy, 3)
    first.learner.save(tmp_path / "state.pt")
    second.learner.restore(tmp_path / "state.pt")

    assert losses(second, toy, 3) == unbroken[3:]
    assert second.learner.samples == 6 * BATCH


def test_a_run_that_dies_while_saving_leaves_the_old_state(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.pt"
    learnt = editor(toy)
    losses(learnt, toy, 1)
    learnt.learner.save(state)

    def die(_state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    losses(learnt, toy, 1)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", die)
        with pytest.raises(KeyboardInterrupt):
            learnt.learner.save(state)
    learnt.learner.restore(state)

    assert learnt.learner.steps == 1


def test_a_state_of_another_training_is_refused(toy: Toy, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    editor(toy).learner.save(state)

    with pytest.raises(ValueError, match=r"holds .* wanted is"):
        autoencoder().learner.restore(state)


def test_a_run_ends_at_its_samples_and_the_next_one_goes_on(toy: Toy) -> None:
    held_out = writer(toy.folder).write("held-out", seed=5, families=1)
    first, second = editor(toy), editor(toy)
    first.train(toy.shards, held_out, Limits(samples=2 * BATCH))
    second.train(toy.shards, held_out, Limits(samples=4 * BATCH))

    assert (first.learner.samples, second.learner.samples) == (2 * BATCH, 4 * BATCH)
    assert second.learner.steps == 4


def test_an_export_loads_and_edits(toy: Toy, tmp_path: Path) -> None:
    learnt = editor(toy)
    losses(learnt, toy, 2)
    before = losses(learnt, toy, 1)
    learnt.export(tmp_path)
    engine = DiffusersEngine.load(tmp_path, card="cpu:0", model="qwen-image-edit-2509-tiny")
    request = EditRequest(
        pictures=("0" * 64,),
        instruction="make the background white",
        model=engine.model.name,
        steps=2,
    )
    picture = edited(engine, [Image.new("RGB", (128, 128), "navy")], request, seed=1)

    assert picture.size == (128, 128)
    assert np.isfinite(before).all()
    assert np.asarray(picture).std() > 0


def begun(toy: Toy, folder: Path, *, steps: int) -> Stages:
    """A training in ``new`` that goes on from what ``out`` was given after so many steps."""
    learnt = editor(toy)
    losses(learnt, toy, steps)
    learnt.export(folder / "out")
    stages = Stages(folder=folder / "new", how=TOY, sizes=LEAST)
    stages.begin(folder / "out")
    return stages


def test_a_training_begins_with_what_an_exported_folder_has_learnt(
    toy: Toy, tmp_path: Path
) -> None:
    stages = begun(toy, tmp_path, steps=6)
    stages.export(tmp_path / "again")

    state = torch.load(tmp_path / "new" / "editor.pt", weights_only=True)
    assert state["samples"] == 0
    for name in ("transformer/diffusion_pytorch_model", "text_encoder/model"):
        one, other = (tmp_path / place / f"{name}.safetensors" for place in ("out", "again"))
        assert one.read_bytes() == other.read_bytes()
    for name in ("vae/config.json", "tokenizer/tokenizer.json"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "new" / name).read_text()
    with pytest.raises(FileExistsError, match="a training has begun"):
        stages.begin(tmp_path / "out")


def test_what_is_learnt_is_judged_in_both_wordings(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = begun(toy, tmp_path, steps=1)

    stages.judge(1, [Language.ENGLISH])

    told = capsys.readouterr().out
    assert "after 0 samples" in told
    assert f"{len(EditKind)} cases of each column" in told


def test_a_folder_of_other_sizes_begins_nothing(toy: Toy, tmp_path: Path) -> None:
    editor(toy).export(tmp_path / "out")
    wider = Stages(folder=tmp_path / "new", how=TOY, sizes=replace(LEAST, width=128))

    with pytest.raises(ValueError, match="is of other sizes"):
        wider.begin(tmp_path / "out")
    assert not (tmp_path / "new" / "editor.pt").exists()


def test_a_cooldown_works_on_a_copy_and_goes_on_where_it_was_interrupted(
    tmp_path: Path,
) -> None:
    stages = Stages(folder=tmp_path, how=TOY, sizes=LEAST, families=1)
    assert stages.vae(2 * BATCH, minutes=None, batch=BATCH)
    stages.data(1)
    pace = Pace(batch=BATCH)
    stages.train(pace, minutes=1e-9)
    trained = (tmp_path / "editor.pt").read_bytes()
    stages.cool(2 * BATCH, pace, minutes=1e-9)
    stages.cool(2 * BATCH, pace, minutes=None)
    cooled = tmp_path / f"cooled-0-{2 * BATCH}.pt"
    stages.export(tmp_path / "out", cooled)

    assert (tmp_path / "editor.pt").read_bytes() == trained
    assert torch.load(cooled, weights_only=True)["samples"] == 2 * BATCH
    assert (tmp_path / "out" / "model_index.json").is_file()


def test_rewording_a_shard_changes_its_instructions_alone(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = writer(toy.folder)
    before = made.write("reworded", seed=1_000_000, families=2)
    arrays = {path.name: np.load(path) for path in before.iterdir()}
    made.reword("reworded", seed=1_000_000)
    same = {path.name: np.load(path) for path in before.iterdir()}
    monkeypatch.setattr("worker.engine.tiny.training.shards.SLIPS", 1)
    made.reword("reworded", seed=1_000_000)
    other = {path.name: np.load(path) for path in before.iterdir()}

    def changed(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
        return {name for name in arrays if not np.array_equal(one[name], two[name])}

    assert changed(arrays, same) == set()
    assert changed(arrays, other) == {"ids.npy", "lengths.npy"}


def test_a_shard_is_made_once_and_equal_seeds_make_equal_ones(toy: Toy) -> None:
    made = writer(toy.folder)
    before = (toy.shards[0] / "ids.npy").stat().st_mtime_ns
    again = made.write("0000", seed=1_000_000, families=2)
    twin = made.write("twin", seed=1_000_000, families=2)

    assert (again / "ids.npy").stat().st_mtime_ns == before
    for name in ("latents", "thumbnails", "pairs", "ids", "lengths"):
        one, other = (np.load(shard / f"{name}.npy") for shard in (again, twin))
        assert np.array_equal(one, other)
