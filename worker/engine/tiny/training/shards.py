"""Families as the transformer meets them: latents, thumbnails, and instructions as token ids.

A shard is a folder of arrays, computed once.  It is written beside its place and renamed:
one that is there is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.engine.tiny.cases import TRAINED_SEEDS
from worker.engine.tiny.drawing import paint
from worker.engine.tiny.language import Language
from worker.engine.tiny.networks import VISION_SIDE
from worker.engine.tiny.phrases import instruction
from worker.engine.tiny.states import EditKind
from worker.engine.tiny.training.families import PICTURES, Family
from worker.engine.tiny.training.reading import tokens_after_picture
from worker.engine.tiny.training.stills import encode, from_bytes, in_batches, normalised, pack

FAMILIES: Final = 400  #: of a shard
#: of each pair's wordings; what a picture shows is said in English by fewer turns
LANGUAGES: Final = (*(Language.ENGLISH,) * 2, *(Language.CHINESE,) * 3)
SLIPS: Final = 0.15  #: share of wordings with a word lost, or a strange one
LONGEST: Final = 44  #: tokens after the picture; longer wordings are drawn again
HELD_OUT: Final = "held-out"  #: the shard that validates
HELD_OUT_SEED: Final = TRAINED_SEEDS - 1
_BATCH: Final = 48  # pictures encoded at once

#: source, target, kind
_PAIR_COLUMNS: Final = 3


Seed = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A family's pictures, uint8 (12, 128, 128, 3); its pairs (n, 3); wordings of each."""

    pictures: NDArray[np.uint8]
    pairs: NDArray[np.int32]
    wordings: Sequence[Sequence[str]]


def draw_family(seed: Seed) -> Drawn:
    """Equal seeds give equal families and wordings."""
    family = Family.random(np.random.default_rng(seed))
    masks = family.scene.masks()
    kinds = list(EditKind)
    pairs = [(one.source, one.target, kinds.index(one.edit.kind)) for one in family.pairs()]
    return Drawn(
        pictures=np.stack([np.asarray(paint(masks, state)) for state in family.states]),
        pairs=np.array(pairs, np.int32).reshape(-1, _PAIR_COLUMNS),
        wordings=word_family(seed),
    )


def word_family(seed: Seed) -> Sequence[Sequence[str]]:
    """Wordings of each of its pairs; the pictures do not depend on them."""
    family = Family.random(np.random.default_rng(seed))
    rng = np.random.default_rng([*seed, 1])
    return [
        [
            instruction(rng, family.scene_of(pair.source), pair.edit, language, slips=SLIPS)
            for language in LANGUAGES
        ]
        for pair in family.pairs()
    ]


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Makes shards with one autoencoder and one tokenizer; others' latents mean nothing to them."""

    folder: Path
    vae: Any  #: for stills
    tokenizer: Any
    device: str
    #: draws many; a pool's, where there are many cores
    each: Callable[[Callable[[Seed], Drawn], Iterable[Seed]], Iterator[Drawn]] = map

    def write(self, name: str, seed: int, families: int = FAMILIES) -> Path:
        """``folder/name``, from seeds (seed, 0) to (seed, families - 1); kept if it is there."""
        place = self.folder / name
        if place.exists():
            return place
        beside = self.folder / f"{name}.part"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        seeds = [(seed, number) for number in range(families)]
        arrays = self._arrays(self.each(draw_family, seeds))
        for key, values in arrays.items():
            np.save(beside / f"{key}.npy", values)
        beside.replace(place)
        return place

    def reword(self, name: str, seed: int) -> None:
        """Give a shard that ``write`` made of the same seed the wordings of today."""
        place = self.folder / name
        beside, before = (self.folder / f"{name}.{state}" for state in ("part", "before"))
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(place, beside)
        families = len(np.load(place / "latents.npy", mmap_mode="r")) // PICTURES
        wordings = [word_family((seed, number)) for number in range(families)]
        for key, values in self._words(pair for family in wordings for pair in family).items():
            np.save(beside / f"{key}.npy", values)
        place.replace(before)
        beside.replace(place)
        shutil.rmtree(before)

    def _words(self, wordings: Iterable[Sequence[str]]) -> dict[str, NDArray[Any]]:
        """``wordings`` of each pair."""
        ids, lengths = zip(*(fitted(self.tokenizer, one) for one in wordings), strict=True)
        return {"ids": np.stack(ids), "lengths": np.stack(lengths)}

    def _arrays(self, families: Iterator[Drawn]) -> dict[str, NDArray[Any]]:
        latents, thumbnails, pairs = [], [], []
        wordings: list[Sequence[str]] = []
        for number, drawn in enumerate(families):
            pictures = torch.from_numpy(drawn.pictures).to(self.device)
            latents.append(self._latents(pictures))
            thumbnails.append(shrunk(pictures).cpu().numpy())
            pairs.append(drawn.pairs + np.array([number * PICTURES, number * PICTURES, 0]))
            wordings += drawn.wordings
        return {
            "latents": np.concatenate(latents),
            "thumbnails": np.concatenate(thumbnails),
            "pairs": np.concatenate(pairs).astype(np.int32),
            **self._words(wordings),
        }

    def _latents(self, pictures: Tensor) -> NDArray[np.float16]:
        """Normalised and packed: float16 (pictures, 64, 64)."""
        with torch.no_grad():
            parts = [
                pack(normalised(self.vae, encode(self.vae, from_bytes(part))))
                for part in in_batches(pictures, _BATCH)
            ]
        values: NDArray[np.float16] = torch.cat(parts).half().cpu().numpy()
        return values


def shrunk(pictures: Tensor) -> Tensor:
    """What the text encoder sees: uint8 (pictures, 3, 56, 56), as its image processor shrinks."""
    whole = pictures.permute(0, 3, 1, 2).float()
    small = functional.interpolate(
        whole, (VISION_SIDE, VISION_SIDE), mode="bicubic", antialias=True
    )
    return small.round().clamp(0, 255).byte()


def fitted(
    tokenizer: Any,  # noqa: ANN401 - untyped library
    wordings: Sequence[str],
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Ids (wordings, 44), padded at the end, and their lengths; too long ones are replaced."""
    encoded = tokens_after_picture(tokenizer, wordings)
    short = [one for one in encoded if len(one) <= LONGEST]
    if not short:
        raise ValueError(f"no wording of {wordings[0]!r} has at most {LONGEST} tokens")
    ids = np.full((len(wordings), LONGEST), tokenizer.pad_token_id, np.uint16)
    lengths = np.empty(len(wordings), np.uint8)
    for number in range(len(wordings)):
        chosen = encoded[number] if len(encoded[number]) <= LONGEST else short[number % len(short)]
        ids[number, : len(chosen)] = chosen
        lengths[number] = len(chosen)
    return ids, lengths


@dataclass(frozen=True, kw_only=True)
class Batch:
    source: Tensor  #: latents (batch, 64, 64)
    target: Tensor
    thumbnails: Tensor  #: of the source
    ids: Tensor  #: (batch, 44)
    lengths: Tensor
    kinds: Tensor  #: numbers of ``EditKind``


@dataclass(frozen=True, kw_only=True)
class Library:
    """All pairs of some shards, on the device that learns."""

    latents: Tensor
    thumbnails: Tensor
    pairs: Tensor
    ids: Tensor
    lengths: Tensor
    #: running total of the pairs' weights, 0 to 1; on the CPU
    upto: NDArray[np.float64]

    @classmethod
    def read(cls, shards: Sequence[Path], weights: Sequence[float], device: str) -> Self:
        """``weights``: how often a kind is met, in the order of ``EditKind``."""
        if not shards:
            raise ValueError("no shards: make some with the stage data")
        load = partial(_joined, shards)
        pairs = load("pairs").astype(np.int64)
        sizes = [len(np.load(shard / "latents.npy", mmap_mode="r")) for shard in shards]
        counts = [len(np.load(shard / "pairs.npy", mmap_mode="r")) for shard in shards]
        pairs[:, :2] += np.repeat(np.cumsum([0, *sizes[:-1]]), counts)[:, None]
        return cls(
            latents=torch.from_numpy(load("latents")).to(device),
            thumbnails=torch.from_numpy(load("thumbnails")).to(device),
            pairs=torch.from_numpy(pairs).to(device),
            ids=torch.from_numpy(load("ids").astype(np.int16)).to(device),
            lengths=torch.from_numpy(load("lengths")).to(device),
            upto=_shares(pairs, np.array(weights)),
        )

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        which = np.searchsorted(self.upto, rng.random(count)).clip(max=len(self.upto) - 1)
        wording = rng.integers(self.ids.shape[1], size=count)
        return self.take(which, wording)

    def take(self, which: NDArray[np.int64], wording: NDArray[np.int64]) -> Batch:
        device = self.pairs.device
        rows, words = (torch.from_numpy(one).to(device) for one in (which, wording))
        source, target, kinds = self.pairs[rows].unbind(1)
        return Batch(
            source=self.latents[source].float(),
            target=self.latents[target].float(),
            thumbnails=self.thumbnails[source],
            ids=self.ids[rows, words].long(),
            lengths=self.lengths[rows, words].long(),
            kinds=kinds,
        )


def _joined(shards: Sequence[Path], name: str) -> NDArray[Any]:
    return np.concatenate([np.load(shard / f"{name}.npy") for shard in shards])


def _shares(pairs: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each kind by its weight; within one, sources with the scene's own background thrice."""
    own = (pairs[:, 0] % PICTURES) < PICTURES // 3
    share = np.where(own, 3.0, 1.0)
    for kind, weight in enumerate(weights):
        of_kind = pairs[:, 2] == kind
        share[of_kind] *= weight / share[of_kind].sum()
    upto: NDArray[np.float64] = np.cumsum(share / share.sum())
    return upto
