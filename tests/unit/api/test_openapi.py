from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.unit.api.edge_app import make_app


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_app().openapi()


def described(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/"}]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["tags"] == [{"name": "things", "description": "Things to try the edge with."}]


def test_only_operations_are_in_it(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for operation in described(document)}
    assert names == {"thing_health", "thing_create", "thing_list", "thing_read"}


def test_every_error_is_a_problem_and_the_frameworks_own_is_gone(document: dict[str, Any]) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])
    for operation in described(document):
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                assert list(response["content"]) == ["application/problem+json"]
                assert response["content"]["application/problem+json"]["schema"] == {
                    "$ref": "#/components/schemas/Problem"
                }
                assert response["description"].startswith("`")
        expected = {"413", "422", "500", "503"} | (set() if operation.get("security") == [] else {"401"})
        assert expected <= set(operation["responses"])


def test_what_the_noun_declared_is_kept(document: dict[str, Any]) -> None:
    responses = document["paths"]["/api/v1/spaces/{space_id}/files/{filename}"]["get"]["responses"]
    assert "thing_lost" in responses["404"]["description"]
    assert "store_unavailable" in responses["503"]["description"]


def test_a_token_is_asked_for_except_where_it_is_not(document: dict[str, Any]) -> None:
    assert document["security"] == [{"BearerToken": []}]
    scheme = document["components"]["securitySchemes"]["BearerToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["paths"]["/api/v1/things/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/api/v1/spaces/{space_id}/things"]["post"]


def test_the_example_is_found_where_its_arguments_belong(document: dict[str, Any]) -> None:
    create = document["paths"]["/api/v1/spaces/{space_id}/things"]["post"]
    assert create["parameters"][0]["example"] == "alpha"
    assert create["requestBody"]["content"]["application/json"]["example"] == {"name": "cup", "size": 2}
    listed = document["paths"]["/api/v1/spaces/{space_id}/things"]["get"]
    assert {item["name"]: item["example"] for item in listed["parameters"]} == {"space_id": "alpha", "limit": 3}


def test_the_document_is_made_once() -> None:
    app = make_app()
    assert app.openapi() is app.openapi()
