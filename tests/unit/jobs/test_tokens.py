"""What is certainly too long for the model is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import BadSettings, InvalidRequest
from jobs.model import DEFAULT_MODEL, EditRequest
from jobs.tokens import WINDOWS, check_tokens, counter_of, fewest_tokens, most_tokens
from worker.engine.diffusers.models import MODELS

TINY = Path(__file__).parents[3] / "models/tiny/tokenizer/tokenizer.json"
count = counter_of(TINY)


@given(
    st.one_of(
        st.text(max_size=200),
        st.text(alphabet="\u0958\u2adcé", max_size=50),  # longer once normalised
        st.text(alphabet="ab 12'\n\t.,²Ⅷ½杯子色，。é\u0301", max_size=200),
    )
)
def test_the_estimate_is_never_above_the_tokenizers_count(text: str) -> None:
    assert fewest_tokens(text) <= count(text) <= most_tokens(text)


@pytest.mark.parametrize(
    ("text", "fewest"),
    [("make the mug red", 4), ("size 42", 3), ("把杯子换成红色", 1), ("把杯子，红", 2), ("", 0)],
)
def test_runs_of_letters_and_single_digits_count(text: str, fewest: int) -> None:
    assert fewest_tokens(text) == fewest


@pytest.mark.parametrize("field", ["instruction", "negative"])
def test_a_text_that_is_certainly_too_long_makes_no_request(field: str) -> None:
    words: dict[str, Any] = {"instruction": "red", field: "a b " * 500}

    with pytest.raises(InvalidRequest, match=f"{field}: at most 955 tokens, got 1000 or more"):
        EditRequest(pictures=("0" * 64,), **words)


def test_what_may_fit_is_left_to_the_worker() -> None:
    EditRequest(pictures=("0" * 64,), instruction="杯" * 2_000)
    EditRequest(pictures=("0" * 64,), instruction="1" * 955)


def test_the_limit_is_the_engines() -> None:
    for row in MODELS.values():
        window = [most for name, most in WINDOWS.items() if row.name.startswith(name)]
        assert window in ([], [row.max_tokens]), row.name


def test_a_model_with_another_tokenizer_is_left_to_its_worker() -> None:
    EditRequest(pictures=("0" * 64,), instruction="a b " * 500, model="flux.1-kontext-dev")


def test_with_the_tokenizer_at_hand_the_count_is_exact() -> None:
    fits, long = "杯子" * 400, "z" * 2_000

    check_tokens(DEFAULT_MODEL, "instruction", fits, count)
    check_tokens(DEFAULT_MODEL, "instruction", long)
    with pytest.raises(InvalidRequest, match="instruction: at most 955 tokens, got"):
        check_tokens(DEFAULT_MODEL, "instruction", long, count)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")

    with pytest.raises(BadSettings, match=r"PACKSHOT_TOKENIZER: .*tokenizer\.json is no tokenizer"):
        counter_of(path)
