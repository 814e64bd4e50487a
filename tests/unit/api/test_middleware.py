import re
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from app.core.operation import ToolCall
from app.core.routing import TOOL_CALL_KEY
from tests.unit.api.edge_app import AS_READER, asking, assert_problem, make_app

READ = "/api/v1/spaces/alpha/things"


async def _silent(_done: float, _total: float | None, _message: str) -> None:
    pass


async def test_a_request_keeps_the_id_it_came_with() -> None:
    async with asking(make_app()) as client:
        response = await client.get("/health", headers={"X-Request-Id": "abc-DEF-123"})
    assert response.headers.get_list("x-request-id") == ["abc-DEF-123"]


@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "a_b", "a\tb", "<script>"])
async def test_an_id_of_another_shape_is_replaced(offered: str) -> None:
    async with asking(make_app()) as client:
        response = await client.get("/health", headers={"X-Request-Id": offered})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_each_request_is_one_line_with_the_template_and_not_the_address() -> None:
    with capture_logs() as lines:
        async with asking(make_app(), **AS_READER) as client:
            await client.get(READ, params={"limit": 2})
            await client.get("/api/v1/spaces/alpha/files/lost")
            await client.get("/health")
    written = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["route"], line["status"], line["caller"]) for line in written] == [
        ("GET", "/api/v1/spaces/{space_id}/things", 200, "reader"),
        ("GET", "/api/v1/spaces/{space_id}/files/{filename}", 404, "reader"),
    ]
    assert written[0]["bytes"] > 0
    assert written[1]["code"] == "thing_lost"


async def test_a_bug_is_logged_once_with_its_traceback() -> None:
    with capture_logs() as lines:
        async with asking(make_app(), **AS_READER) as client:
            await client.get("/api/v1/spaces/alpha/files/bug")
    bugs = [line for line in lines if line["event"] == "unforeseen_error"]
    assert [line["kind"] for line in bugs] == ["RuntimeError"]
    assert isinstance(bugs[0]["exc_info"], RuntimeError)


async def test_every_answer_carries_the_headers_that_calm_a_browser() -> None:
    async with asking(make_app()) as client:
        for path in (READ, "/health", "/docs", "/openapi.json", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "camera=()" in headers["permissions-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "strict-transport-security" not in headers
            assert not [name for name in headers if name.startswith("access-control-")]
        assert (await client.get("/health")).headers["cache-control"] == "no-store"
        assert (await client.get("https://localhost/health")).headers["strict-transport-security"]


async def test_a_page_may_run_our_scripts_and_json_may_run_nothing() -> None:
    async with asking(make_app()) as client:
        assert "script-src 'self'" in (await client.get("/docs")).headers["content-security-policy"]
        assert (await client.get("/health")).headers["content-security-policy"].startswith("default-src 'none'; frame")


@pytest.mark.parametrize("host", ["localhost", "localhost:8002", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8002", "[::1]"])
async def test_a_listed_host_is_answered_on_any_port(host: str) -> None:
    async with asking(make_app(hosts=("localhost", "127.0.0.1", "[::1]"))) as client:
        assert (await client.get("/docs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8002", "127.0.0.1.nip.io", ""]
)
async def test_another_host_is_refused_before_its_token_is_read(host: str) -> None:
    async with asking(make_app(hosts=("localhost", "127.0.0.1", "[::1]")), **AS_READER) as client:
        assert_problem(await client.get(READ, headers={"Host": host}), 421, "host_refused")
        assert (await client.get("/health", headers={"Host": host})).status_code == 200
        assert (await client.get("/ready", headers={"Host": host})).status_code == 200


async def test_a_host_listed_with_a_port_is_answered_on_that_port_only() -> None:
    async with asking(make_app(hosts=("memory.example:8443",))) as client:
        assert (await client.get("/docs", headers={"Host": "memory.example:8443"})).status_code == 200
        assert_problem(await client.get("/docs", headers={"Host": "memory.example:1"}), 421, "host_refused")


async def test_a_request_without_any_host_is_refused_unless_every_host_is_welcome() -> None:
    sent: list[Any] = []
    scope = _scope("/docs", headers=[])
    await make_app(hosts=("localhost",))(scope, _no_body, _collect(sent))
    assert sent[0]["status"] == 421
    sent.clear()
    await make_app()(_scope("/docs", headers=[]), _no_body, _collect(sent))
    assert sent[0]["status"] == 200


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/sse/messages/"])
async def test_a_page_of_a_stranger_may_not_use_the_mcp_transports(path: str) -> None:
    async with asking(make_app(origins=("https://app.example", "http://localhost:*"))) as client:
        for origin in ("https://evil.example", "null", "http://app.example", "https://app.example.evil.example"):
            assert_problem(await client.post(path, headers={"Origin": origin}), 403, "origin_refused")
        for origin in ("https://app.example", "http://localhost:6274"):
            assert (await client.post(path, headers={"Origin": origin})).status_code != 403
        assert (await client.post(path)).status_code != 403


async def test_an_origin_says_nothing_on_other_addresses() -> None:
    async with asking(make_app(), **AS_READER) as client:
        assert (await client.get(READ, headers={"Origin": "https://evil.example"})).status_code == 200


async def test_a_tool_call_is_logged_as_such_under_the_id_of_its_request() -> None:
    app = make_app(hosts=("localhost",))
    call = ToolCall("thing_list", "mcp", _silent)
    scope = _scope(READ, headers=[(b"authorization", b"Bearer reader-token"), (b"x-request-id", b"outer-1")])
    scope[TOOL_CALL_KEY] = call
    sent: list[Any] = []
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await app(scope, _no_body, _collect(sent))
    assert sent[0]["status"] == 200
    assert (b"x-request-id", b"outer-1") in sent[0]["headers"]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["channel"], line["operation"], line["request_id"]) == ("mcp", "thing_list", "outer-1")


async def test_a_tool_call_without_an_id_takes_that_of_the_request_around_it() -> None:
    scope = _scope(READ, headers=[(b"authorization", b"Bearer reader-token")])
    scope[TOOL_CALL_KEY] = ToolCall("thing_list", "sse", _silent)
    sent: list[Any] = []
    with structlog.contextvars.bound_contextvars(request_id="outer-2"):
        await make_app()(scope, _no_body, _collect(sent))
    assert (b"x-request-id", b"outer-2") in sent[0]["headers"]


async def test_a_tool_call_reaches_no_operation_but_its_own() -> None:
    scope = _scope(READ, headers=[(b"authorization", b"Bearer reader-token")])
    scope[TOOL_CALL_KEY] = ToolCall("thing_read", "mcp", _silent)
    sent: list[Any] = []
    await make_app()(scope, _no_body, _collect(sent))
    assert sent[0]["status"] == 404


def _scope(path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "scheme": "http", "http_version": "1.1", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _collect(sent: list[Any]) -> Any:
    async def send(message: Any) -> None:
        sent.append(message)

    return send
