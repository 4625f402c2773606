"""A library that changed what the engine relies on stops the start, and is told by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as library

from jobs.errors import BadSettings
from worker.engine.diffusers.contract import check_contract, check_positions
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.repairs import pass_token_types

pytestmark = pytest.mark.engine
Pipeline = Any


def test_the_installed_libraries_keep_it(pipeline: Pipeline, row: ModelRow) -> None:
    check_contract(pipeline, row)
    check_positions(pipeline, row)


def call_without_negative(self: object, image: object, prompt: str) -> None: ...


def dimensions_of_another_kind(area: int, aspect: float, multiple: int) -> None: ...


def encoder_without_types(self: object, input_ids: object, **_: object) -> None: ...


@pytest.mark.parametrize(
    ("where", "name", "value", "told"),
    [
        (library, "VAE_IMAGE_SIZE", 2048**2, "VAE_IMAGE_SIZE is 4194304, not 1048576"),
        (library, "CONDITION_IMAGE_SIZE", 1, "CONDITION_IMAGE_SIZE is 1, not 147456"),
        (library, "calculate_dimensions", dimensions_of_another_kind, "calculate_dimensions"),
        (library, "calculate_dimensions", None, "calculate_dimensions"),
        (library, "randn_tensor", None, "draws its noise without randn_tensor"),
        (
            library.QwenImageEditPlusPipeline,
            "__call__",
            call_without_negative,
            "takes no callback_on_step_end, .*, negative_prompt, .*true_cfg_scale",
        ),
        ("pipeline", "prompt_template_encode_start_idx", 34, "64 tokens, the pipeline cuts off 34"),
        ("pipeline", "prompt_template_encode", "user: {}", "prompt_template_encode has another"),
        ("encoder class", "forward", encoder_without_types, "takes no mm_token_type_ids"),
        ("rope", "pos_freqs", torch.zeros(1024, 2), "knows 1024 positions, not 4096"),
    ],
)
def test_a_change_is_told_by_name(  # noqa: PLR0913 - fixtures
    *,
    pipeline: Pipeline,
    row: ModelRow,
    where: object,
    name: str,
    value: object,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {
        "pipeline": pipeline,
        "encoder class": type(pipeline.text_encoder),
        "rope": pipeline.transformer.pos_embed,
    }
    monkeypatch.setattr(places[where] if isinstance(where, str) else where, name, value)

    with pytest.raises(BadSettings, match=rf"diffusers \S+ with transformers \S+ is not.*{told}"):
        check_contract(pipeline, row)


def test_positions_of_text_for_an_image_stop_the_start(
    pipeline: Pipeline, row: ModelRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: here, the repair is missing."""
    encoder = pipeline.text_encoder
    monkeypatch.setattr(encoder, "forward", type(encoder).forward.__get__(encoder))

    with pytest.raises(BadSettings, match="an image's tokens the positions of text"):
        check_positions(pipeline, row)


class NamedTypes:
    """The encoder's call with the types by name, as in transformers 5.17 and 5.23."""

    config = type("Config", (), {"image_token_id": 7})

    def __init__(self) -> None:
        self.got: torch.Tensor | None = None

    def forward(
        self,
        input_ids: torch.Tensor,
        mm_token_type_ids: torch.Tensor | None = None,
        **_kwargs: object,
    ) -> None:
        assert input_ids.dim() == 2
        self.got = mm_token_type_ids


class AnyTypes(NamedTypes):
    """A call that hands all on by keyword."""

    def forward(self, **arguments: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        self.got = arguments["mm_token_type_ids"]


@pytest.mark.parametrize("kind", [NamedTypes, AnyTypes])
def test_types_reach_either_form_of_the_call(kind: type[NamedTypes]) -> None:
    encoder = kind()
    pass_token_types(encoder)
    ids = torch.tensor([[1, 7, 7, 2]])

    encoder.forward(input_ids=ids)
    assert encoder.got is not None
    assert encoder.got.tolist() == [[0, 1, 1, 0]]

    own = torch.tensor([[0, 1, 2, 0]])
    encoder.forward(input_ids=ids, mm_token_type_ids=own)
    assert encoder.got is own  # a pipeline that hands them on is left alone
