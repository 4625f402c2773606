from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobs.model import Suspicion
from producer.api.schemas import SUCCEEDED, EditPage, EditView, Problem
from producer.edits import Edit
from tests.unit.producer.api.scenes import Downstream, Hand


@pytest.fixture
def described(api: Downstream) -> dict[str, Any]:
    document: dict[str, Any] = api.get("/openapi.json").json()
    return document


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for reference in references(described):
        node: Any = described
        for name in reference.removeprefix("#/").split("/"):
            assert name in node, reference
            node = node[name]


def test_every_problem_is_declared_as_one(described: dict[str, Any]) -> None:
    declared = {
        (path, method, status): set(answer["content"])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        if status >= "400"
    }

    assert set(map(frozenset, declared.values())) == {frozenset({"application/problem+json"})}
    assert ("/v1/edits", "post", "422") in declared
    assert ("/v1/edits/{job_id}", "get", "404") in declared
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_the_form_is_described_with_its_files(described: dict[str, Any]) -> None:
    content = described["paths"]["/v1/edits"]["post"]["requestBody"]["content"]
    form = described["components"]["schemas"]["EditForm"]

    assert list(content) == ["multipart/form-data"]
    assert form["required"] == ["image", "instruction"]
    assert {"image", "image[]", "image2", "image3", "priority"} <= set(form["properties"])
    assert form["properties"]["metadata"]["type"] == "string"


def test_what_is_answered_is_what_is_described(
    api: Downstream, hand: Hand, described: dict[str, Any]
) -> None:
    done, failed, queued = (api.submit(instruction=one) for one in ("a", "b", "c"))
    hand.complete(done, suspect=Suspicion(code="flat", message="one colour"))
    hand.fail(failed)
    answers = [api.get(f"/v1/edits/{one}").json() for one in (done, failed, queued)]

    for answer in answers:
        EditView.model_validate(answer)
        assert set(answer) == set(EditView.model_fields)
        Draft202012Validator(
            {"$ref": "#/components/schemas/EditView", "components": described["components"]}
        ).validate(answer)
    EditPage.model_validate(api.get("/v1/edits").json())
    Problem.model_validate(api.get("/v1/edits/none").json())


def test_the_example_could_be_real(api: Downstream, hand: Hand) -> None:
    job_id = api.submit()
    hand.complete(job_id)
    real = api.get(f"/v1/edits/{job_id}").json()

    EditView.model_validate(SUCCEEDED)
    assert set(SUCCEEDED) == set(real)
    assert set(SUCCEEDED["result"]) == set(real["result"])


def test_the_form_lacks_only_what_is_not_for_services(described: dict[str, Any]) -> None:
    form = described["components"]["schemas"]["EditForm"]["properties"]
    elsewhere = {"pictures", "idempotency_key", "salt", "max_failures"}

    assert set(Edit.__dataclass_fields__) - elsewhere <= set(form)


def test_the_page_for_people_names_every_route_and_field(
    api: Downstream, described: dict[str, Any]
) -> None:
    page = api.get("/docs").text
    fields = described["components"]["schemas"]["EditForm"]["properties"]

    assert [path for path in described["paths"] if f"{path}</code></h2>" not in page] == []
    assert [name for name in fields if f"<td><code>{name}</code></td>" not in page] == []
    assert "One of <code>png</code>" in page
    assert "<td></td>" not in page  # each says what it is
    assert "A header. " in page


def test_the_page_for_people_needs_no_other_server(api: Downstream) -> None:
    page = api.get("/docs").text

    own_icon = 'link rel="icon" href="data:'  # a browser would ask for /favicon.ico, which is none
    assert not re.search(rf"<(script|(?!{own_icon})link|img|iframe)|@import|url\(", page)
    assert f"<{own_icon}" in page
    assert api.get("/").headers["location"] == "docs"
