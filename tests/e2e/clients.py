"""The clients that people use, as the tests use them."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from tests.e2e.conftest import Server

Kind = Literal["modern", "legacy", "sse"]
OPERATIONS = 26


def binary(name: str) -> str:
    """Where the program is: a machine without it cannot run these tests, and a skip would look like a success."""
    found = shutil.which(name)
    assert found is not None, f"'{name}' is not installed, and this test needs it: install it (apt-get install {name})"
    return found


def curl(method: str, url: str, token: str | None, body: Any = None) -> tuple[int, Any]:
    """The status and the JSON of what curl gets."""
    headers = ["-H", f"Authorization: Bearer {token}"] if token else []
    data = [] if body is None else ["-H", "Content-Type: application/json", "--data", json.dumps(body)]
    quiet = [binary("curl"), "-sS", "--noproxy", "*", "--max-time", "60", "-w", "\n%{http_code}"]
    done = subprocess.run(
        [*quiet, "-X", method, *headers, *data, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text)


@asynccontextmanager
async def connected(server: Server, kind: Kind, token: str) -> AsyncIterator[Client]:
    """The official client, over streamable HTTP in one of its two eras, or over SSE."""
    headers = {"Authorization": f"Bearer {token}"}
    if kind == "sse":
        async with Client(sse_client(server.urls["sse"], headers=headers), mode="legacy") as client:
            yield client
        return
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        transport = streamable_http_client(server.urls["mcp"], http_client=http)
        async with Client(transport, mode="2026-07-28" if kind == "modern" else "legacy") as client:
            yield client


async def call(client: Client, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The object that a tool answers with, whether it worked or not."""
    result = await client.call_tool(tool, dict(arguments))
    [text] = [part.text for part in result.content if isinstance(part, TextContent)]
    said: dict[str, Any] = json.loads(text)
    assert result.is_error or said == result.structured_content
    return said
