"""The OpenAPI document, and the files in `openapi/`: valid, whole, and what the code says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.app import LiveMemory
from app.catalogue import CATALOGUE
from app.cli.export import export
from app.core.errors import Unauthenticated
from app.core.problem import PROBLEM_TYPE
from tests.contract.walk import document, serving

ROOT: Final = Path(__file__).parents[2]
EXPORTED: Final = ("openapi.json", "mcp-tools.json", "OPERATIONS.md")
OTHERWISE: Final = {"bank_consolidate": ("202",), "bank_compact": ("202",), "job_events": ("204",)}
"""Operations that can succeed in a second way: the work goes on, or there is nothing more to tell."""
METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
DECLARED: Final = {one.name: one for noun in CATALOGUE for one in noun.declared}


def operations() -> Iterator[dict[str, Any]]:
    for path in document()["paths"].values():
        yield from (described for method, described in path.items() if method in METHODS)


EACH: Final = pytest.mark.parametrize(
    "described", list(operations()), ids=lambda described: str(described["operationId"])
)


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()
    assert document()["openapi"].startswith("3.1")


def test_it_says_where_it_stands_and_under_which_licence() -> None:
    assert document()["servers"] == [{"url": "/"}]
    assert document()["info"]["license"]["identifier"] == "Apache-2.0"
    described = {tag["name"] for tag in document()["tags"] if tag["description"]}
    assert {tag for one in operations() for tag in one["tags"]} <= described


def test_the_framework_s_own_error_is_nowhere() -> None:
    assert "HTTPValidationError" not in str(document())
    assert "ValidationError" not in document()["components"]["schemas"]


@EACH
def test_who_may_call_is_said(described: dict[str, Any]) -> None:
    operation = DECLARED[described["operationId"]]
    scheme = document()["components"]["securitySchemes"]["BearerToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    needed = described.get("security", document()["security"])
    assert needed == ([] if operation.permission.value == "public" else [{"BearerToken": []}])
    assert described["x-permission"] == operation.permission.value
    assert described["x-effect"] == operation.effect.value
    assert ("401" in described["responses"]) == (bool(needed) or Unauthenticated in operation.errors)


@EACH
def test_every_declared_error_is_a_problem_in_the_document(described: dict[str, Any]) -> None:
    operation = DECLARED[described["operationId"]]
    for error in operation.errors:
        answer = described["responses"][str(error.status)]
        assert f"`{error.code()}`: {error.title()}" in answer["description"]
    for status, answer in described["responses"].items():
        assert answer["description"]
        if status >= "400":
            assert list(answer["content"]) == [PROBLEM_TYPE]
            assert answer["content"][PROBLEM_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert {"422", "413", "500", "503"} <= described["responses"].keys()
    successes = [status for status in described["responses"] if status.startswith("2")]
    assert successes == [str(operation.status_code), *OTHERWISE.get(operation.name, ())]


@EACH
def test_every_example_is_valid(described: dict[str, Any]) -> None:
    for parameter in described.get("parameters", []):
        examples = [parameter["example"]] if "example" in parameter else []
        for example in [*examples, *parameter["schema"].get("examples", [])]:
            validate(example, parameter["schema"])
    for content in described.get("requestBody", {}).get("content", {}).values():
        validate(content["example"], content["schema"])


def test_the_examples_of_fields_are_valid() -> None:
    checked = 0
    for name, model in document()["components"]["schemas"].items():
        for field, schema in model.get("properties", {}).items():
            for example in schema.get("examples", []):
                validate(example, schema, f"{name}.{field}")
                checked += 1
    assert checked > 30


def validate(value: object, schema: dict[str, Any], where: str = "") -> None:
    whole = {**schema, "components": document()["components"]}
    faults = [fault.message for fault in jsonschema.Draft202012Validator(whole).iter_errors(value)]
    assert faults == [], where


def test_every_field_is_described() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, model in document()["components"]["schemas"].items()
        for field, schema in model.get("properties", {}).items()
        if "description" not in schema and "$ref" not in schema
    ]
    assert undescribed == []


async def test_what_is_served_is_this_document_and_no_token_is_needed_for_it() -> None:
    async with serving() as service:
        app: LiveMemory = service.app
        answer = await service.http.get("/openapi.json")
        assert answer.json() == app.openapi() == document()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openapi")
    assert [path.name for path in export(folder)] == list(EXPORTED)
    return folder


@pytest.mark.parametrize("name", EXPORTED)
def test_what_is_committed_is_what_the_code_says(name: str, exported: Path) -> None:
    committed = (ROOT / "openapi" / name).read_text(encoding="utf-8")
    assert committed == (exported / name).read_text(encoding="utf-8"), "run `make openapi` and review the difference"


def test_exporting_twice_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    export(tmp_path)
    for name in EXPORTED:
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes()


def test_nothing_else_lies_beside_the_exported_files() -> None:
    assert sorted(path.name for path in (ROOT / "openapi").iterdir()) == sorted(EXPORTED)
