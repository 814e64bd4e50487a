import json

import pytest

from app.llm.listing import Listing


def listing(*models: object) -> Listing:
    found = Listing.read(json.dumps({"object": "list", "data": models}).encode())
    assert found is not None
    return found


def test_a_model_is_found_by_its_name_an_alias_or_without_its_tag() -> None:
    found = listing({"id": "qwen3:latest"}, {"id": "big", "aliases": ["default"], "max_model_len": 200_000}, 7)
    assert found.names == ("qwen3:latest", "big")
    assert found.find("qwen3") == found.find("qwen3:latest") == found.models[0]
    assert found.find("default") == found.models[1]
    assert found.find("small") is None


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ({"max_model_len": 32768}, 32768),
        ({"context_length": 8192, "max_model_len": 4096}, 4096),
        ({"max_model_len": "many"}, None),
        ({"max_model_len": 0}, None),
        ({}, None),
    ],
)
def test_some_tell_how_much_they_take(model: dict[str, object], window: int | None) -> None:
    assert listing({"id": "x", **model}).models[0].window == window


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"data":{}}', b"[" * 100_000])
def test_anything_else_lists_nothing(body: bytes) -> None:
    assert Listing.read(body) is None
