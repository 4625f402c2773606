"""What is measured, in the order of how much it is worth: the budget cuts at the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from jobs.errors import BadSettings
from worker.engine.bench.sizes import Architecture
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.profiles import Load, Profile

#: Of a profile that is run from host memory: enough to tell a step's time and the peak.
OFFLOADED_STEPS: Final = 4
#: Levers by the name of a load's field, and how a command line's word becomes its value.
LEVERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "attention": str,
    "compiled": lambda word: word == "1",
    "autotuned": lambda word: word == "1",
    "flat_vae": lambda word: word == "1",
    "step_cache": lambda word: None if word == "0" else float(word),
}
TRIES: Final = "tries"  #: names all rows of ``--try``
_TRY: Final = "try "
Lever = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    name: str
    profile: Profile
    placement: Placement = Placement.RESIDENT
    #: computes what the baseline does, so that its picture must be the baseline's to rounding
    exact: bool = False

    @property
    def built_as(self) -> tuple[object, ...]:
        """Equal for cases that can share one build: the schedule is changed between them."""
        load = self.profile.load
        return (
            load.precision,
            load.attention,
            load.compiled,
            load.autotuned,
            load.flat_vae,
            load.step_cache,
            self.placement,
        )

    @property
    def passes(self) -> int:
        """Of the transformer: two a step with guidance."""
        return self.profile.steps * (2 if self.profile.guidance > 1 else 1)


def planned(
    architecture: Architecture,
    device: str,
    *,
    steps: int | None = None,
    levers: Sequence[Lever] = (),
    only: Sequence[str] = (),
) -> tuple[Case, ...]:
    """All cases, or those named; ``steps`` takes the place of longer profiles' own.

    Raises ``BadSettings`` for a name that there is not.
    """
    most = steps or architecture.most_steps
    profiles = {
        one.name: replace(
            one,
            steps=min(one.steps, most or one.steps),
            load=replace(one.load, lora=None),  # added at load; the compute is the same
        )
        for one in architecture.row.profiles
    }
    cases = (*_standing(profiles, device), *_tries(profiles["quality"], levers))
    unknown = set(only) - {case.name for case in cases} - {TRIES}
    if unknown:
        known = ", ".join(case.name for case in cases)
        raise BadSettings(f"--profiles: one of {known}, not {', '.join(sorted(unknown))}")
    return tuple(
        case
        for case in cases
        if not only or case.name in only or (TRIES in only and case.name.startswith(_TRY))
    )


def _standing(profiles: Mapping[str, Profile], device: str) -> tuple[Case, ...]:
    quality = profiles["quality"]
    few = replace(_loaded(quality, Load()), steps=min(OFFLOADED_STEPS, quality.steps))
    return (
        # As served, of one build: what the targets of speed hang on.
        Case(name="fast", profile=profiles["fast"]),
        Case(name="balanced", profile=profiles["balanced"]),
        Case(name="quality", profile=quality, exact=True),
        # The third target; and the first row that a host with too little memory could end.
        Case(name="low-memory", profile=few, placement=Placement.GROUP_OFFLOAD),
        Case(name="quality-fp8", profile=profiles["quality-fp8"]),
        Case(name="model-offload", profile=few, placement=Placement.MODEL_OFFLOAD),
        Case(name="uncompiled", profile=_loaded(quality, Load()), exact=True),
        Case(name="other-sums", profile=_loaded(quality, _other_sums(device)), exact=True),
        # Last: with random weights it shows no more than that it works.
        Case(name="cached", profile=profiles["cached"]),
    )


def _other_sums(device: str) -> Load:
    """Uncompiled, by another kernel of attention: how far rounding alone leads."""
    return Load(attention="_native_math" if device == "cpu" else "_native_flash")


def _tries(quality: Profile, levers: Sequence[Lever]) -> tuple[Case, ...]:
    if not levers:
        return ()
    names = [name for name, _ in levers]
    return tuple(
        Case(
            name=_TRY + " ".join(f"{name}={one}" for name, one in zip(names, each, strict=True)),
            profile=_loaded(quality, replace(Load(), **dict(zip(names, each, strict=True)))),
            exact="step_cache" not in names,
        )
        for each in itertools.product(*(values for _, values in levers))
    )


def _loaded(profile: Profile, load: Load) -> Profile:
    return replace(profile, load=replace(load, scheduler=profile.load.scheduler))


def lever(word: str) -> Lever:
    """``attention=native,_native_cudnn`` as a name and its values.  Raises ``BadSettings``."""
    name, _, values = word.partition("=")
    if name not in LEVERS or not values:
        raise BadSettings(f"--try: one of {', '.join(LEVERS)} and its values, got {word!r}")
    try:
        return name, tuple(LEVERS[name](one) for one in values.split(","))
    except ValueError:
        raise BadSettings(f"--try: {name} takes no {values!r}") from None
