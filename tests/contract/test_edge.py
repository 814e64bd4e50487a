"""The edge on a real socket: what only the server, the guard and the router together can promise."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from app.api.app import LiveMemory
from tests.unit.api.edge_app import AS_READER, AS_WRITER, asking, make_app

THINGS = "/api/v1/spaces/alpha/things"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serving.set()


@asynccontextmanager
async def served(app: LiveMemory) -> AsyncIterator[int]:
    """The application on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await server.serving.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the parts, and read the answer until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(20):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


POST = ("Authorization: Bearer writer-token", "Content-Type: application/json")
LAST = "Connection: close"
BODY = b'{"name": "cup"}'


@pytest.mark.parametrize(("limit", "expected"), [(8, 413), (100, 201)])
async def test_a_chunked_body_is_cut_at_the_limit(limit: int, expected: int) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    async with served(make_app(max_body=limit)) as port:
        close = () if expected == 413 else (LAST,)
        status, headers, _ = await exchange(
            port, head("POST", THINGS, *POST, "Transfer-Encoding: chunked", *close), chunks
        )
    assert status == expected
    assert headers["x-request-id"]


@pytest.mark.parametrize(("missing", "expected"), [(1, 408), (0, 201)])
async def test_a_body_that_stops_coming_ends_the_request(missing: int, expected: int) -> None:
    async with served(make_app(body_seconds=0.3)) as port:
        begin = head("POST", THINGS, *POST, f"Content-Length: {len(BODY) + missing}", *(() if missing else (LAST,)))
        status, headers, _ = await exchange(port, begin, BODY)
    assert status == expected
    assert headers["connection"] == "close"


async def test_an_unknown_caller_is_answered_although_its_body_never_comes() -> None:
    async with served(make_app()) as port:
        status, _, body = await exchange(port, head("POST", THINGS, "Content-Length: 10", LAST))
    assert status == 401
    assert json.loads(body)["code"] == "unauthenticated"


async def test_the_server_says_nothing_about_itself_but_the_date() -> None:
    async with served(make_app()) as port:
        _, headers, _ = await exchange(port, head("GET", "/health", LAST))
    assert "date" in headers
    assert "python" not in str(headers).lower()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/spaces/%00/things",
        "/api/v1/spaces/alpha%00/things",
        "/api/v1/spaces/%ff%fe/things",
        "/api/v1/spaces/alpha%2fthings/things",
        "/api/v1/spaces/../things",
        "/api/v1/spaces/alpha/things?limit=%00",
        "/api/v1/spaces/alpha/things?limit=1e999",
        "/api/v1/spaces/alpha/things?limit=" + "9" * 5000,
        "/api/v1/spaces/alpha/things?limit=%ed%a0%80",
        "/%00",
        "//",
        "/docs/%00",
    ],
)
async def test_a_hostile_address_is_refused_and_never_breaks_anything(path: str) -> None:
    async with served(make_app()) as port:
        status, headers, body = await exchange(port, head("GET", path, "Authorization: Bearer writer-token", LAST))
    assert 400 <= status < 500
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", THINGS, {"name": "cup"}),
        ("POST", THINGS, {"name": "busy"}),
        ("POST", THINGS, {"name": 1}),
        ("POST", "/api/v1/spaces/beta/things", {"name": "cup"}),
        ("GET", THINGS, None),
        ("GET", "/api/v1/spaces/alpha/files/lost", None),
        ("GET", "/api/v1/spaces/alpha/files/away", None),
        ("GET", "/api/v1/spaces/a%20b/files/lost", None),
        ("GET", "/api/v1/things/health", None),
    ],
)
@pytest.mark.parametrize("token", [AS_READER, AS_WRITER, {}])
async def test_every_status_that_is_answered_is_documented(
    method: str, path: str, body: dict[str, object] | None, token: dict[str, str]
) -> None:
    app = make_app()
    async with asking(app, **token) as client:
        response = await client.request(method, path, json=body)
    template = "/api/v1/things/health"
    if path.startswith("/api/v1/spaces/"):
        template = "/api/v1/spaces/{space_id}/" + ("things" if path.endswith("things") else "files/{filename}")
    documented = set(app.openapi()["paths"][template][method.lower()]["responses"])
    undeclared = {"403"}  # the stand-in operations leave it out of `errors`, so that the noun's part is seen too
    assert str(response.status_code) in documented | undeclared
