"""All 26 operations, by the clients people use: curl, and the official MCP client over its three transports."""

from typing import Any, get_args

import pytest

from tests.e2e.clients import OPERATIONS, Kind, binary, call, connected, curl
from tests.e2e.conftest import Server
from tests.e2e.walk import NAMES, STEPS, Found, Step

KINDS = pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])


def check(step: Step, said: Any, *, healthy: str = "ok") -> None:
    """An answer is an object with the word that the operation promises, and with what it was asked for."""
    assert isinstance(said, dict), step.operation
    assert said["status"] == (healthy if step.operation == "system_health" else step.word), (step.operation, said)
    match step.operation:
        case "live_search" | "live_read":
            assert [note["content"] for note in said["notes"]] == ["We chose PostgreSQL 15 (#42)."]
        case "bank_consolidate":
            assert (said["notes_processed"], said["notes_remaining"]) == (1, 0)
        case "bank_read":
            assert "PostgreSQL 15 (#42)" in said["content"]
        case "space_list":
            assert [space["space_id"] for space in said["spaces"]] == ["alpha"]
        case "system_about":
            assert said["tools_count"] == OPERATIONS


def test_the_walk_goes_through_every_operation_once() -> None:
    assert sorted(step.operation for step in STEPS) == sorted(NAMES)
    assert len(NAMES) == OPERATIONS


def test_a_program_that_is_missing_fails_the_test_with_what_to_do() -> None:
    with pytest.raises(AssertionError, match="apt-get install no-such-program"):
        binary("no-such-program")


def test_curl_walks_through_all_operations(server: Server) -> None:
    found = Found()
    for step in STEPS:
        status, said = curl(step.method, server.rest + found.path(step), server.admin_key, step.body)
        assert status == step.status, (step.operation, said)
        check(step, said)
        found.remember(step, said)


@KINDS
async def test_the_official_mcp_client_walks_through_all_operations(server: Server, kind: Kind) -> None:
    found = Found()
    async with connected(server, kind, server.admin_key) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == NAMES
        for step in STEPS:
            said = await call(client, step.operation, found.arguments(step))
            check(step, said, healthy="ok" if kind == "sse" else "healthy")
            found.remember(step, said)


REFUSED = [
    ("GET", "/spaces/absent/bank", None, 404, "space_not_found"),
    ("GET", "/spaces/-absent/bank", None, 422, "invalid_space_id"),
    ("POST", "/spaces", {"space_id": "beta"}, 422, "invalid_input"),
    ("POST", "/spaces", {"space_id": "beta", "description": "", "rules": "", "typo": 1}, 422, "unknown_field"),
    ("POST", "/spaces", {"space_id": "alpha", "description": "", "rules": "# R"}, 409, "space_exists"),
    ("POST", "/spaces/alpha/notes", {"category": "gossip", "content": "x"}, 422, "invalid_input"),
    ("GET", "/spaces/alpha/notes?limit=501", None, 422, "invalid_input"),
    ("GET", "/spaces/alpha/bank/files/absent.md", None, 404, "file_not_found"),
    ("DELETE", "/spaces/alpha", None, 422, "confirmation_required"),
    ("GET", "/backups/alpha/2026-01-01T00-00-00/download", None, 404, "backup_not_found"),
    ("POST", "/admin/tokens/sha256:0000000000000000/revoke", None, 404, "token_not_found"),
]


def test_curl_is_told_what_is_wrong(server: Server) -> None:
    space = {"space_id": "alpha", "description": "", "rules": "# Rules\n\n## notes.md\nAll.\n"}
    assert curl("POST", f"{server.rest}/spaces", server.admin_key, space)[0] == 201
    for method, path, body, expected, code in REFUSED:
        status, said = curl(method, server.rest + path, server.admin_key, body)
        assert (status, said["status"], said["code"]) == (expected, expected, code), (method, path, said)
        assert said["detail"]
        assert said["request_id"]
    for token in (None, "lm_live_nonsense"):
        status, said = curl("GET", f"{server.rest}/spaces", token)
        assert (status, said["code"]) == (401, "unauthenticated")


async def test_a_reader_is_refused_by_mcp_what_it_may_not_do(server: Server) -> None:
    with server.http() as admin:
        for space_id in ("alpha", "beta"):
            admin.post("/spaces", json={"space_id": space_id, "description": "", "rules": "# R"}).raise_for_status()
        made = admin.post("/admin/tokens", json={"name": "r", "permissions": "read", "space_ids": "alpha"}).json()
    attempts: dict[str, tuple[dict[str, Any], str]] = {
        "live_note": ({"space_id": "alpha", "category": "todo", "content": "x"}, "write_required"),
        "space_delete": ({"space_id": "alpha", "confirm": True}, "admin_required"),
        "bank_read_all": ({"space_id": "beta"}, "forbidden"),
        "admin_list_tokens": ({}, "admin_required"),
    }
    for kind in get_args(Kind):
        async with connected(server, kind, made["token"]) as client:
            assert (await call(client, "bank_read_all", {"space_id": "alpha"}))["status"] == "ok"
            for tool, (arguments, code) in attempts.items():
                said = await call(client, tool, arguments)
                assert (said["status"], said["code"]) == ("error", code), (kind, tool, said)
