"""The MCP face over a real web server: eras, gate, streams and shutdown."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Literal

import httpx2
import jsonschema
import pytest

from tests.contract.mcp_app import (
    ADMIN,
    OTHER,
    READER,
    WRITER,
    Serving,
    build_shelf,
    connected,
    failure,
    make_shelf,
    serving,
    success,
)

Kind = Literal["modern", "legacy", "sse"]
KINDS = pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])
JSON_RPC = {"Accept": "application/json, text/event-stream"}
PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


def calling(name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments or {}}}


def asking(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}


async def post(served: Serving, message: object, token: str | None = None, **headers: str) -> httpx2.Response:
    async with served.http(token, **JSON_RPC) as http:
        return await http.post("/mcp", json=message, headers=headers)


def problem_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


def answer_of(response: httpx2.Response) -> dict[str, Any]:
    """The result of a legacy POST, which comes as the one event of a stream."""
    assert response.status_code == 200, response.text
    (data,) = [line for line in response.text.splitlines() if line.startswith("data:")]
    result: dict[str, Any] = json.loads(data.removeprefix("data:"))["result"]
    return result


@KINDS
async def test_the_official_client_lists_calls_and_hears_progress(kind: Kind) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    shelf = make_shelf()
    async with serving(shelf) as served, connected(served, kind) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool("shelf_add", {"space_id": "a", "title": "x"})
        jsonschema.validate(success(result), tools["shelf_add"].output_schema, jsonschema.Draft202012Validator)
        shelf.world.release.set()
        success(await client.call_tool("shelf_slow", {"space_id": "a"}, progress_callback=hear))
        error = failure(await client.call_tool("shelf_read", {"space_id": "a", "item_id": "absent"}))
    assert error["status"] == "not_found"
    assert heard == [(1, 3, "dusted"), (2, 3, "sorted"), (3, 3, "labelled")]


@KINDS
async def test_progress_arrives_while_the_work_goes_on(kind: Kind) -> None:
    shelf = make_shelf()
    arrived = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if (progress, total, message) == (2, 3, "sorted"):
            arrived.set()

    async with serving(shelf) as served, connected(served, kind) as client, asyncio.timeout(10):
        pending = asyncio.create_task(client.call_tool("shelf_slow", {"space_id": "a"}, progress_callback=hear))
        await arrived.wait()
        assert not pending.done()
        shelf.world.release.set()
        success(await pending)


@KINDS
async def test_the_health_word_is_the_one_the_transports_clients_look_for(kind: Kind) -> None:
    async with serving(make_shelf()) as served, connected(served, kind) as client:
        health = success(await client.call_tool("shelf_health", {}))
    assert health["status"] == ("ok" if kind == "sse" else "healthy")


@KINDS
async def test_the_operation_decides_what_a_token_may_do(kind: Kind) -> None:
    shelf = make_shelf()
    async with serving(shelf) as served:
        async with connected(served, kind, READER) as client:
            success(await client.call_tool("shelf_read", {"space_id": "a", "item_id": "1"}))
            write = failure(await client.call_tool("shelf_add", {"space_id": "a", "title": "x"}))
            foreign = failure(await client.call_tool("shelf_read", {"space_id": "b", "item_id": "1"}))
        async with connected(served, kind, ADMIN) as client:
            success(await client.call_tool("shelf_add", {"space_id": "b", "title": "x"}))
    assert (write["status"], write["code"]) == ("error", "write_required")
    assert "write" in write["message"]
    assert (foreign["status"], foreign["code"]) == ("error", "forbidden")
    assert shelf.world.reached == ["shelf_read", "shelf_add"]


@pytest.mark.parametrize("kind", ["modern", "legacy"])
async def test_the_public_operations_need_no_token(kind: Kind) -> None:
    async with serving(make_shelf()) as served, connected(served, kind, None) as client:
        assert (await client.list_tools()).tools
        success(await client.call_tool("shelf_health", {}))


@pytest.mark.parametrize("token", [None, "lm_unknown-0001", "x" * 257])
async def test_everything_else_needs_one(token: str | None) -> None:
    shelf = make_shelf()
    async with serving(shelf) as served:
        for message in (
            calling("shelf_read", {"space_id": "a", "item_id": "1"}),
            calling("shelf_nothing"),
            asking("resources/list"),
            asking("prompts/list"),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": ["shelf_health"]}},
            {"jsonrpc": "2.0", "id": 1, "method": ["ping"]},
            [PING],
            "ping",
        ):
            refused = await post(served, message, token)
            problem_of(refused, 401, "unauthenticated")
            challenge = refused.headers["www-authenticate"]
            assert challenge.startswith("Bearer ")
            assert ("invalid_token" in challenge) == (token is not None)
        for message in (INITIALIZE, PING, asking("tools/list"), calling("shelf_health")):
            assert (await post(served, message, token)).status_code == 200
    assert shelf.world.reached == []


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", f"Basic {WRITER}", f"Bearer {WRITER} {WRITER}", WRITER, "Bearer lm_é", f"Bearer\t{WRITER}"],
)
async def test_a_malformed_authorization_is_no_token(value: str) -> None:
    async with serving(make_shelf()) as served, served.http(**JSON_RPC) as http:
        refused = await http.post("/mcp", json=asking("resources/list"), headers={b"authorization": value.encode()})
    problem_of(refused, 401, "unauthenticated")


async def test_two_tokens_are_none_and_one_in_any_case_is_good() -> None:
    async with serving(make_shelf()) as served, served.http(**JSON_RPC) as http:
        both = [("Authorization", f"Bearer {WRITER}"), ("Authorization", f"Bearer {WRITER}")]
        refused = await http.post("/mcp", json=asking("resources/list"), headers=both)
        accepted = await http.post("/mcp", json=asking("resources/list"), headers={"Authorization": f"bEARER {WRITER}"})
    problem_of(refused, 401, "unauthenticated")
    assert accepted.status_code == 200


async def test_a_stranger_cannot_send_much() -> None:
    async with serving(make_shelf()) as served:
        message = calling("shelf_health", {"padding": "x" * 70_000})
        problem_of(await post(served, message), 401, "unauthenticated")
        assert (await post(served, message, WRITER)).status_code == 200


async def test_a_token_in_the_address_is_not_read() -> None:
    async with serving(make_shelf()) as served, served.http(**JSON_RPC) as http:
        message = asking("resources/list")
        for name in ("token", "access_token", "api_key"):
            problem_of(await http.post("/mcp", params={name: WRITER}, json=message), 401, "unauthenticated")
            problem_of(await http.get("/sse", params={name: WRITER}), 401, "unauthenticated")


async def test_a_lost_token_registry_is_an_outage() -> None:
    shelf = make_shelf()
    async with serving(shelf) as served:
        assert (await post(served, asking("resources/list"), WRITER)).status_code == 200
        shelf.tokens.lost = True
        refused = await post(served, asking("resources/list"), WRITER)
        problem_of(refused, 503, "store_unavailable")
        assert refused.headers["retry-after"]
        problem_of(await post(served, calling("shelf_read"), WRITER), 503, "store_unavailable")
        async with served.http(WRITER) as http:
            problem_of(await http.get("/sse"), 503, "store_unavailable")
            problem_of(await http.post("/sse/messages/", json=PING), 503, "store_unavailable")
        health = await post(served, calling("shelf_health"), WRITER)
        assert answer_of(health)["structuredContent"] == {"status": "healthy"}
        problem_of(await post(served, asking("resources/list")), 401, "unauthenticated")


async def test_only_posts_are_answered_and_no_login_is_asked_of_others() -> None:
    async with serving(make_shelf()) as served, served.http() as http:
        for method in ("GET", "DELETE", "PUT", "HEAD"):
            refused = await http.request(method, "/mcp")
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        refused = await http.post("/sse")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
        refused = await http.get("/sse/messages/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html"])
async def test_both_kinds_of_answer_must_be_accepted(accept: str) -> None:
    async with serving(make_shelf()) as served, served.http(WRITER, Accept=accept) as http:
        assert (await http.post("/mcp", json=PING)).status_code == 406


async def test_foreign_hosts_and_origins_are_refused() -> None:
    async with serving(make_shelf()) as served:
        for path, method in (("/mcp", "POST"), ("/sse", "GET"), ("/sse/messages/", "POST")):
            async with served.http(WRITER, **JSON_RPC) as http:
                foreign = await http.request(method, path, json=PING, headers={"Host": "evil.example"})
                page = await http.request(method, path, json=PING, headers={"Origin": "https://evil.example"})
            assert (foreign.status_code, page.status_code) == (421, 403), path
        own = await post(served, PING, WRITER, Origin="http://localhost:3000")
        assert own.status_code == 200


async def test_what_is_no_message_is_refused() -> None:
    async with serving(make_shelf()) as served, served.http(WRITER, **JSON_RPC) as http:
        headers = {"Content-Type": "application/json"}
        assert (await http.post("/mcp", content=b"{", headers=headers)).status_code == 400
        assert (await http.post("/mcp", json={"jsonrpc": "2.0"})).status_code == 400


@pytest.mark.parametrize("path", ["/mcp", "/sse/messages/"])
async def test_a_message_has_a_largest_size(path: str) -> None:
    message = calling("shelf_health", {"padding": "x" * 1000})
    async with serving(build_shelf(max_body=1000)) as served, served.http(WRITER, **JSON_RPC) as http:
        problem_of(await http.post(path, json=message), 413, "too_large")


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_blanks_behind_a_header_do_not_count(http: Literal["h11", "httptools"]) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    }
    message = calling("shelf_health")
    message["params"]["_meta"] = meta
    body = json.dumps(message).encode()
    async with serving(make_shelf(), http=http) as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
            "Mcp-Method: tools/call \r\nMcp-Name: shelf_health  \r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer


async def test_a_header_that_contradicts_the_message_is_refused() -> None:
    async with serving(make_shelf()) as served:
        message = calling("shelf_read")
        message["params"]["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "shelf_health"}
        refused = await post(served, message, WRITER, **headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == -32020


async def test_only_listed_headers_reach_the_operation() -> None:
    shelf = make_shelf()
    async with serving(shelf) as served:
        sent = {"traceparent": "00-1-2-01", "Idempotency-Key": "k", "Cookie": "a=b", "X-Forwarded-User": "root"}
        await post(served, calling("shelf_health"), WRITER, **sent)
    (seen,) = shelf.world.seen
    assert (seen["traceparent"], seen["idempotency-key"], seen["accept"]) == ("00-1-2-01", "k", "application/json")
    assert seen["authorization"] == f"Bearer {WRITER}"
    assert not {"cookie", "x-forwarded-user", "accept-encoding", "user-agent"} & seen.keys()


@KINDS
async def test_a_client_that_goes_away_cancels_the_operation(kind: Kind) -> None:
    shelf = make_shelf()
    async with serving(shelf) as served, asyncio.timeout(15):

        async def begin() -> None:
            async with connected(served, kind) as client:
                await client.call_tool("shelf_slow", {"space_id": "a"})

        pending = asyncio.create_task(begin())
        await shelf.world.waiting.wait()
        assert not shelf.world.cancelled.is_set()
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await shelf.world.cancelled.wait()


class TestEventStream:
    """HTTP with SSE, as clients of older revisions speak it by hand."""

    async def test_a_client_of_the_first_servers_is_served(self) -> None:
        async with serving(make_shelf()) as served, served.http(WRITER) as http, http.stream("GET", "/sse") as stream:
            assert stream.status_code == 200
            events = _Events(stream)
            name, address = await events.next()
            assert name == "endpoint"
            assert address.startswith("/sse/messages/?session_id=")
            initialize = INITIALIZE | {"params": INITIALIZE["params"] | {"protocolVersion": "2024-11-05"}}
            accepted = await http.post(address, json=initialize)
            assert accepted.status_code == 202
            answer = await events.answer()
            assert answer["result"]["protocolVersion"] == "2024-11-05"
            await http.post(address, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
            await http.post(address, json=calling("shelf_add", {"space_id": "a", "title": "x", "agent": "me"}))
            answer = await events.answer()
            assert answer["id"] == 7
            assert json.loads(answer["result"]["content"][0]["text"])["status"] == "created"
            assert "isError" not in answer["result"] or answer["result"]["isError"] is False
            await http.post(address, json=calling("shelf_read", {"space_id": "a", "item_id": "absent"}))
            answer = await events.answer()
            assert answer["result"]["isError"] is True
            assert json.loads(answer["result"]["content"][0]["text"])["status"] == "not_found"
            assert "structuredContent" not in answer["result"]

    async def test_a_session_belongs_to_the_token_that_opened_it(self) -> None:
        async with serving(make_shelf()) as served, served.http(WRITER) as http, http.stream("GET", "/sse") as stream:
            events = _Events(stream)
            _, address = await events.next()
            async with served.http(OTHER) as foreign:
                assert (await foreign.post(address, json=INITIALIZE)).status_code == 404
            async with served.http() as stranger:
                problem_of(await stranger.post(address, json=INITIALIZE), 401, "unauthenticated")
                problem_of(await stranger.get("/sse"), 401, "unauthenticated")
            absent = "/sse/messages/?session_id=" + "0" * 32
            assert (await http.post(absent, json=INITIALIZE)).status_code == 404
            assert (await http.post(address, json=INITIALIZE)).status_code == 202
            assert (await events.answer())["id"] == 1

    async def test_a_token_that_is_revoked_ends_what_its_session_may_do(self) -> None:
        shelf = build_shelf()
        async with serving(shelf) as served, served.http(WRITER) as http, http.stream("GET", "/sse") as stream:
            events = _Events(stream)
            _, address = await events.next()
            assert (await http.post(address, json=INITIALIZE)).status_code == 202
            await events.answer()
            del shelf.tokens.callers[WRITER]
            problem_of(await http.post(address, json=calling("shelf_health")), 401, "unauthenticated")

    async def test_it_can_be_left_out(self) -> None:
        async with serving(make_shelf(sse=False)) as served, served.http(WRITER, **JSON_RPC) as http:
            assert (await http.get("/sse")).status_code == 404
            assert (await http.post("/mcp", json=PING)).status_code == 200

    async def test_an_open_stream_ends_when_the_server_goes_down(self) -> None:
        async with serving(make_shelf()) as served, served.http(WRITER) as http, http.stream("GET", "/sse") as stream:
            events = _Events(stream)
            await events.next()
            served.stop()
            async with asyncio.timeout(4):
                with pytest.raises(StopAsyncIteration):
                    await events.next()
                await served.ended


class _Events:
    """The events of a stream, read as the first clients did."""

    def __init__(self, stream: httpx2.Response) -> None:
        self._lines = stream.aiter_lines()

    async def next(self) -> tuple[str, str]:
        name = ""
        async with asyncio.timeout(5):
            while True:
                line = await anext(self._lines)
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    return name, line.removeprefix("data:").strip()

    async def answer(self) -> dict[str, Any]:
        """The first message with a result or an error is taken for the answer."""
        while True:
            _, text = await self.next()
            message: dict[str, Any] = json.loads(text)
            if "result" in message or "error" in message:
                return message


async def test_the_service_can_be_started_again_in_the_same_process() -> None:
    shelf = make_shelf()
    for _ in range(2):
        async with serving(shelf) as served:
            async with connected(served, "modern") as client:
                success(await client.call_tool("shelf_health", {}))
            async with connected(served, "sse") as client:
                success(await client.call_tool("shelf_health", {}))


async def test_before_it_runs_nothing_is_answered() -> None:
    shelf = make_shelf()
    transport = httpx2.ASGITransport(shelf.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
        refused = await http.post("/mcp", json=PING, headers=JSON_RPC)
        problem_of(refused, 503, "unavailable")
