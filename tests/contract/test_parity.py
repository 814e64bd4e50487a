"""Both faces say the same: the REST body, the text of the tool's result and its structured content."""

import base64
import io
import json
import re
import tarfile
from datetime import timedelta
from typing import Any, Final

import httpx2
import jsonschema
import pytest
from mcp import Client
from mcp import types as t
from mcp.client.streamable_http import streamable_http_client

from tests.conftest import BOOTSTRAP_KEY
from tests.contract.walk import ADDRESS, TABLE, TOOLS, prepared, success_schema, tools

READS: Final = tuple(name for name in TOOLS if TABLE[name].route.startswith("GET ") and name != "system_health")
WRITES: Final = (
    "live_note", "bank_consolidate", "job_cancel", "space_update", "space_update_rules",
    "bank_write", "bank_repair", "bank_compact", "bank_revert", "bank_delete", "backup_create", "admin_gc_notes",
    "admin_create_token", "admin_update_token", "admin_revoke_token", "admin_purge_tokens", "admin_delete_token",
    "space_delete", "backup_restore", "space_delete", "space_create", "backup_delete",
)  # fmt: skip
"""In an order in which each succeeds."""
LAST: Final = ("bank_delete", "space_delete", "backup_restore", "backup_delete")
"""What takes away what others need."""
CHANCE: Final = re.compile(
    r"lm_live_[0-9A-Za-z]{49}"  # a token
    r"|sha256:[0-9a-f]{13}[0-9a-f.]*"  # its hash, whole or cut short
    r"|(?<=_)[0-9a-f]{8}(?=\.md)"  # the end of a note's name
    r"|\b[0-9a-f]{16}\b"  # a job
    r"|(?<=\"total_size\":)[0-9]+"  # a backup holds compressed records, which hold such names
)


def agreed(text: str) -> str:
    """The text, with what is drawn at random made equal."""
    return CHANCE.sub("(random)", text)


async def test_reading_gives_the_same_bytes_on_both_faces() -> None:
    async with prepared() as service:
        for name in READS:
            rest, tool = await service.rest(name), await service.tool(name)
            assert rest.status_code == 200, name
            assert not tool.is_error, name
            assert tool.text == rest.text
            assert tool.structured == rest.json()
            check(name, tool.structured, success_schema(service.operations[name]))


async def test_writing_gives_the_same_answer_and_the_same_memory_on_both_faces() -> None:
    assert sorted({*WRITES}) == sorted(name for name in TOOLS if not TABLE[name].route.startswith("GET "))
    async with prepared() as one, prepared() as other:
        for name in WRITES:
            rest, tool = await one.rest(name), await other.tool(name)
            assert rest.is_success, (name, rest.text)
            assert not tool.is_error, (name, tool.body)
            assert agreed(tool.text) == agreed(rest.text)
            assert tool.structured == json.loads(tool.text)
            check(name, tool.structured, success_schema(one.operations[name]))
            kept, kept_too = set(await one.contents()), set(await other.contents())
            assert shapes(kept) == shapes(kept_too), name


def shapes(keys: set[str]) -> set[str]:
    """The keys, without the random part of notes, records and token files."""
    return {re.sub(r"[0-9a-f]{16,64}", "(random)", agreed(key)) for key in keys}


def check(name: str, value: object, schema: dict[str, Any]) -> None:
    """A success is what both documents say it is."""
    jsonschema.validate(value, schema, jsonschema.Draft202012Validator)
    jsonschema.validate(value, tools()[name]["outputSchema"], jsonschema.Draft202012Validator)


async def test_the_word_of_good_health_is_the_one_difference() -> None:
    async with prepared() as service:
        rest, tool = (await service.rest("system_health")).json(), await service.tool("system_health")
        check("system_health", rest, success_schema(service.operations["system_health"]))
        assert tool.structured is not None
        check("system_health", tool.structured, success_schema(service.operations["system_health"]))
        assert (rest["status"], tool.structured["status"]) == ("ok", "healthy")
        assert tool.text == (await service.rest("system_health")).text.replace('"ok"', '"healthy"', 1)
        service.store.fail(["get", "list"], lasting=True)
        service.clock.advance(timedelta(minutes=5))
        rest, tool = (await service.rest("system_health")).json(), await service.tool("system_health")
        assert tool.structured == rest
        assert rest["status"] == "degraded"


@pytest.mark.parametrize("name", ["space_export", "backup_download"])
async def test_a_streamed_archive_is_the_one_in_the_answer(name: str) -> None:
    async with prepared() as service:
        answer = (await service.rest(name)).json()
        service.http.headers["Accept"] = "application/gzip"
        stream = await service.rest(name)
    assert stream.headers["content-type"] == "application/gzip"
    assert base64.b64decode(answer["archive_base64"]) == stream.content
    assert answer["archive_size"] == len(stream.content)
    with tarfile.open(fileobj=io.BytesIO(stream.content), mode="r:gz") as archive:
        members = archive.getnames()
    assert len(members) == answer["files_count"]
    assert {"_rules.md", "bank/decisions.md"} <= set(members)


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_official_client_understands_every_answer(mode: str) -> None:
    """It lists the tools after a call, and checks structured content against their schemas."""
    async with prepared() as service:
        transport = httpx2.ASGITransport(service.app)
        headers = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
        async with (
            httpx2.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as http,
            Client(streamable_http_client(f"{ADDRESS}/mcp", http_client=http), mode=mode) as client,
        ):
            listed = [tool.name for tool in (await client.list_tools()).tools]
            assert sorted(listed) == sorted(TOOLS)
            for name in [*(name for name in TOOLS if name not in LAST), *LAST]:
                arguments = service.example(name)
                if name == "space_create":
                    arguments["space_id"] = "project-gamma"
                result = await client.call_tool(name, arguments)
                assert isinstance(result, t.CallToolResult)
                assert not result.is_error, (name, result.content)
                assert result.structured_content is not None
