from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from app.mcp.schemas import exported_document, inlined, output_schema, without_noise


class Tree(BaseModel):
    label: str
    branches: list["Tree"] = []


class Leaf(BaseModel):
    """What every leaf has."""

    title: str = Field(default="", title="Name")


class Twig(BaseModel):
    leaf: Leaf = Field(default=Leaf(), description="The leaf of this twig.")


def document_of(app: FastAPI) -> dict[str, Any]:
    return get_openapi(title="x", version="1", routes=app.routes)


def operation_of(app: FastAPI, method: str = "post") -> dict[str, Any]:
    operation: dict[str, Any] = document_of(app)["paths"]["/x"][method]
    return operation


def test_a_body_is_exported_without_references() -> None:
    app = FastAPI()

    @app.post("/x", operation_id="x")
    async def x(twig: Twig) -> Leaf:
        return twig.leaf

    exported = exported_document(document_of(app), ["x"])["paths"]["/x"]["post"]
    leaf = exported["requestBody"]["content"]["application/json"]["schema"]["properties"]["leaf"]
    assert leaf["description"] == "The leaf of this twig.", "the field's sentence, not the model's"
    assert leaf["properties"]["title"]["type"] == "string"
    assert exported["responses"] == {}


def test_only_the_named_operations_are_exported() -> None:
    app = FastAPI()
    app.add_api_route("/x", lambda: None, methods=["GET"], operation_id="x")
    app.add_api_route("/x", lambda: None, methods=["DELETE"], operation_id="y")
    app.add_api_route("/z", lambda: None, methods=["GET"], operation_id="z")
    assert {path: list(item) for path, item in exported_document(document_of(app), ["x"])["paths"].items()} == {
        "/x": ["get"]
    }


def test_a_request_that_contains_itself_is_refused() -> None:
    app = FastAPI()

    @app.post("/x", operation_id="x")
    async def x(tree: Tree) -> Leaf:
        return Leaf(title=tree.label)

    with pytest.raises(ValueError, match=r"operation 'x' cannot be a tool: its request model .* contains itself"):
        exported_document(document_of(app), ["x"])


def test_a_name_in_the_address_and_in_the_body_is_refused() -> None:
    app = FastAPI()

    @app.post("/x", operation_id="x")
    async def x(leaf: Leaf, title: Annotated[str, Query()]) -> Leaf:
        return Leaf(title=leaf.title + title)

    with pytest.raises(ValueError, match="both in its address and in its body"):
        exported_document(document_of(app), ["x"])


def test_a_body_that_is_no_object_is_refused() -> None:
    app = FastAPI()

    @app.post("/x", operation_id="x")
    async def x(leaves: list[Leaf]) -> Leaf:
        return leaves[0]

    with pytest.raises(ValueError, match="not an object with named fields"):
        exported_document(document_of(app), ["x"])


def test_a_body_that_is_no_json_is_refused() -> None:
    operation = {"operationId": "x", "requestBody": {"content": {"multipart/form-data": {"schema": {}}}}}
    document = {"openapi": "3.1.0", "info": {}, "paths": {"/x": {"post": operation}}}
    with pytest.raises(ValueError, match="its body is not JSON"):
        exported_document(document, ["x"])


def test_a_result_brings_the_definitions_it_refers_to_and_no_other() -> None:
    app = FastAPI()

    @app.post("/x", operation_id="x")
    async def x(leaf: Leaf) -> Tree:
        return Tree(label=leaf.title)

    document = document_of(app)
    schema = output_schema("x", operation_of(app), document)
    assert schema is not None
    assert schema["type"] == "object"
    assert schema["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}
    assert list(schema["$defs"]) == ["Tree"]


@pytest.mark.parametrize("result", [list[Leaf], Tree | Leaf, str])
def test_a_result_that_is_no_object_is_refused(result: Any) -> None:
    app = FastAPI()
    app.add_api_route("/x", lambda: None, methods=["POST"], operation_id="x", response_model=result)
    with pytest.raises(ValueError, match="its result is not an object"):
        output_schema("x", operation_of(app), document_of(app))


def test_two_kinds_of_success_are_refused_and_one_kind_twice_is_not() -> None:
    app = FastAPI()
    app.add_api_route("/x", lambda: None, methods=["GET"], response_model=Leaf, responses={202: {"model": Tree}})
    app.add_api_route("/x", lambda: None, methods=["POST"], response_model=Leaf, responses={202: {"model": Leaf}})
    with pytest.raises(ValueError, match="different models"):
        output_schema("x", operation_of(app, "get"), document_of(app))
    assert output_schema("x", operation_of(app), document_of(app)) is not None


def test_a_success_without_json_has_no_schema() -> None:
    app = FastAPI()
    app.add_api_route("/x", lambda: None, methods=["POST"], status_code=204)
    assert output_schema("x", operation_of(app), document_of(app)) is None


def test_noise_goes_and_a_field_of_that_name_stays() -> None:
    schema = {
        "title": "Noise",
        "properties": {"title": {"type": "string", "title": "Title", "default": {"title": "kept"}}},
        "anyOf": [{"title": "A", "discriminator": {"propertyName": "kind"}}],
    }
    assert without_noise(schema) == {
        "properties": {"title": {"type": "string", "default": {"title": "kept"}}},
        "anyOf": [{}],
    }


def test_a_reference_that_is_used_twice_is_not_a_circle() -> None:
    document = {"components": {"schemas": {"A": {"type": "string"}}}}
    reference = {"$ref": "#/components/schemas/A"}
    schema = {"properties": {"one": reference, "two": reference}}
    assert inlined(schema, document, name="x") == {"properties": {"one": {"type": "string"}, "two": {"type": "string"}}}
