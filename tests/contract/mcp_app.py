"""A small service with every kind of operation the MCP face must carry, and ways to talk to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import httpx2
import uvicorn
from fastapi import Header, Query, Request
from mcp import Client
from mcp import types as t
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import Field

from app.api.app import LiveMemory, create_app
from app.core.errors import Conflict, NotFound, StoreUnavailable
from app.core.identity import Caller, Everywhere, Only, Permission
from app.core.operation import Effect, ToolCall
from app.core.routing import TOOL_CALL_KEY, Operations, ReportProgress
from app.core.schema import Body, Result
from app.mcp.bridge import McpBridge
from app.mcp.errors import PROBLEM_META

T = TypeVar("T")

HOSTS = ["127.0.0.1:*", "localhost:*", "testserver"]
ORIGINS = ["http://localhost:*"]
WRITER, READER, OTHER, ADMIN = "lm_writer-0001", "lm_reader-0001", "lm_other-0001", "lm_admin-0001"


class ItemNotFound(NotFound):
    """There is no item of that name on the shelf."""


class ItemExists(Conflict):
    """An item of that name is on the shelf already."""

    word = "already_exists"


class ShelfBusy(Conflict):
    """Somebody is tidying the shelf."""


class RestoreTargetExists(Conflict):
    """The shelf to restore onto exists."""

    word = "error"


SITUATIONS = {kind.code(): kind for kind in (ItemNotFound, ItemExists, ShelfBusy, RestoreTargetExists)}


class Note(Body):
    """A remark on an item."""

    text: str = Field(description="What it says.")
    weight: int | None = None
    """How much it matters."""


class ItemAdd(Body):
    """What to put on the shelf."""

    title: str
    """Name of the item."""
    kind: Literal["book", "box"] = "book"
    """What sort of thing it is."""
    count: int = 1
    """How many there are."""
    fragile: bool = False
    """Whether to take care."""
    note: Note | None = None
    """A remark."""
    tags: list[str] = []
    """Words to find it by."""
    agent: str | None = None
    """Who put it there."""


class Item(Result):
    """An item on a shelf, and how it was asked for."""

    status: Literal["ok", "created", "deleted"]
    """What was done."""
    space_id: str
    """The shelf."""
    item_id: str
    """The item."""
    asked: dict[str, Any] = {}
    """The arguments as the operation saw them."""
    part_of: "Item | None" = None
    """The item it belongs to."""


class Health(Result):
    """Whether the service is well."""

    status: Literal["ok", "healthy"]
    """The word the transport's clients look for."""


@dataclass
class World:
    """What the operations did, and what holds them up."""

    reached: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[Mapping[str, Any]] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew."""
        self.reached, self.seen = [], []
        self.waiting, self.release, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()


def shelf(world: World, *, open_to_all: bool) -> Operations:  # noqa: C901, PLR0915 - a list of declarations
    """The operations; a client in the same process sends no token, so it needs them open to all."""
    operations = Operations("shelf", "Things on shelves.")

    def asks(permission: Permission) -> Permission:
        return Permission.PUBLIC if open_to_all else permission

    @operations.declare(
        "shelf_health",
        method="GET",
        path="/shelf-health",
        permission=Permission.PUBLIC,
        effect=Effect.READS,
        example={},
    )
    async def health(request: Request) -> Health:
        """Tell whether the service is well."""
        world.seen.append(dict(request.headers))
        call: ToolCall | None = request.scope.get(TOOL_CALL_KEY)
        return Health(status="healthy" if call is not None and call.transport == "mcp" else "ok")

    @operations.declare(
        "shelf_special",
        method="GET",
        path="/shelves/{space_id}/items/special",
        permission=asks(Permission.READ),
        effect=Effect.READS,
        example={"space_id": "a"},
    )
    async def special(space_id: str) -> Item:
        """Read the special item."""
        world.reached.append("shelf_special")
        return Item(status="ok", space_id=space_id, item_id="special")

    @operations.declare(
        "shelf_read",
        method="GET",
        path="/shelves/{space_id}/items/{item_id}",
        permission=asks(Permission.READ),
        effect=Effect.READS,
        errors=(ItemNotFound,),
        example={"space_id": "a", "item_id": "1"},
    )
    async def read(
        space_id: str,
        item_id: str,
        limit: Annotated[int, Query(ge=0, le=9, description="How much of it.")] = 3,
        deep: Annotated[bool | None, Query()] = None,
        word: Annotated[str | None, Query()] = None,
        tags: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    ) -> Item:
        """Read one item.

        The item is shown with the arguments it was asked for with.
        """
        world.reached.append("shelf_read")
        if item_id == "absent":
            raise ItemNotFound(f"No item '{item_id}' on shelf '{space_id}'.")
        asked = {"limit": limit, "deep": deep, "word": word, "tags": tags}
        whole = Item(status="ok", space_id=space_id, item_id="whole")
        return Item(status="ok", space_id=space_id, item_id=item_id, asked=asked, part_of=whole)

    @operations.declare(
        "shelf_add",
        method="POST",
        path="/shelves/{space_id}/items",
        permission=asks(Permission.WRITE),
        effect=Effect.ADDS,
        status_code=201,
        errors=(ItemExists,),
        example={"space_id": "a", "title": "A book"},
    )
    async def add(space_id: str, item: ItemAdd) -> Item:
        """Put an item on the shelf."""
        world.reached.append("shelf_add")
        return Item(status="created", space_id=space_id, item_id=item.title, asked=item.model_dump())

    @operations.declare(
        "shelf_delete",
        method="DELETE",
        path="/shelves/{space_id}/items/{item_id}",
        permission=asks(Permission.WRITE),
        effect=Effect.DELETES,
        errors=(ItemNotFound,),
        example={"space_id": "a", "item_id": "1", "confirm": True},
    )
    async def delete(
        space_id: str,
        item_id: str,
        confirm: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query parameter
        if_match: Annotated[str | None, Header(description="Version to delete.")] = None,
    ) -> Item:
        """Take an item away."""
        world.reached.append("shelf_delete")
        asked = {"confirm": confirm, "if_match": if_match}
        return Item(status="deleted", space_id=space_id, item_id=item_id, asked=asked)

    @operations.declare(
        "shelf_delete_secrets",
        method="DELETE",
        path="/shelves/{space_id}/items/{item_id}/secrets",
        permission=asks(Permission.WRITE),
        effect=Effect.DELETES,
        core=False,
        example={"space_id": "a", "item_id": "1"},
    )
    async def delete_secrets(space_id: str, item_id: str) -> Item:
        """Take what is hidden in an item."""
        world.reached.append("shelf_delete_secrets")
        return Item(status="deleted", space_id=space_id, item_id=item_id)

    @operations.declare(
        "shelf_file_history",
        method="GET",
        path="/shelves/{space_id}/files/{filename:path}/history",
        permission=asks(Permission.READ),
        effect=Effect.READS,
        core=False,
        example={"space_id": "a", "filename": "b.md"},
    )
    async def file_history(space_id: str, filename: str) -> Item:
        """Read what a file was before."""
        world.reached.append("shelf_file_history")
        return Item(status="ok", space_id=space_id, item_id=filename)

    @operations.declare(
        "shelf_file",
        method="GET",
        path="/shelves/{space_id}/files/{filename:path}",
        permission=asks(Permission.READ),
        effect=Effect.READS,
        example={"space_id": "a", "filename": "b/c.md"},
    )
    async def file(space_id: str, filename: str) -> Item:
        """Read a file."""
        world.reached.append("shelf_file")
        return Item(status="ok", space_id=space_id, item_id=filename)

    @operations.declare(
        "shelf_slow",
        method="POST",
        path="/shelves/{space_id}/tidy",
        permission=asks(Permission.READ),
        effect=Effect.ADDS,
        example={"space_id": "a"},
    )
    async def slow(space_id: str, progress: ReportProgress) -> Item:
        """Tidy the shelf, which takes as long as it takes."""
        try:
            await progress(1, 3, "dusted")
            await progress(2, 3, "sorted")
            await progress(2, 3, "sorted again")
            world.waiting.set()
            await world.release.wait()
            await progress(3, 3, "labelled")
        except asyncio.CancelledError:
            world.cancelled.set()
            raise
        return Item(status="ok", space_id=space_id, item_id="tidy")

    @operations.declare(
        "shelf_endless",
        method="POST",
        path="/shelves/{space_id}/wait",
        permission=asks(Permission.READ),
        effect=Effect.ADDS,
        timeout=timedelta(0),
        example={"space_id": "a"},
    )
    async def endless(space_id: str) -> Item:
        """Wait for what does not come."""
        await asyncio.Event().wait()
        return Item(status="ok", space_id=space_id, item_id="never")

    @operations.declare(
        "shelf_fail",
        method="POST",
        path="/shelves/{space_id}/fail/{code}",
        permission=asks(Permission.READ),
        effect=Effect.ADDS,
        errors=(*SITUATIONS.values(), StoreUnavailable),
        example={"space_id": "a", "code": "store_unavailable"},
    )
    async def fail(space_id: str, code: str) -> Item:
        """Fail in the way that is asked for."""
        if code == "crash":
            raise RuntimeError("a secret of the inside")
        if code in SITUATIONS:
            raise SITUATIONS[code](f"Shelf '{space_id}' is why.")
        raise StoreUnavailable("The store is away.", retry_after=7)

    return operations


class Tokens:
    """An authenticator over a dictionary, which can lose its registry."""

    def __init__(self) -> None:
        read, write = Permission.READ, Permission.WRITE
        self.callers = {
            WRITER: Caller("writer", frozenset({read, write}), Everywhere(), "hash-of-writer"),
            READER: Caller("reader", frozenset({read}), Only(frozenset({"a"})), "hash-of-reader"),
            OTHER: Caller("other", frozenset({read, write}), Everywhere(), "hash-of-other"),
            ADMIN: Caller("admin", frozenset({Permission.ADMIN}), Everywhere(), "hash-of-admin"),
        }
        self.lost = False

    async def authenticate(self, token: str) -> Caller | None:
        if self.lost:
            raise StoreUnavailable("The token registry cannot be read.")
        return self.callers.get(token)


class NoServices:
    """The operations of the shelf need none."""

    def of(self, kind: type[T], /) -> T:
        raise LookupError(kind)

    async def ready(self) -> Mapping[str, str]:
        return {}


@dataclass
class Shelf:
    """The application, its MCP face, and what happens behind it."""

    app: LiveMemory
    bridge: McpBridge
    world: World
    tokens: Tokens


@cache
def _built(*, open_to_all: bool, tools: Literal["core", "full"], sse: bool) -> Shelf:
    return build_shelf(open_to_all=open_to_all, tools=tools, sse=sse)


def make_shelf(*, open_to_all: bool = False, tools: Literal["core", "full"] = "core", sse: bool = True) -> Shelf:
    """The whole service, not yet serving; built once, since building takes longer than most tests."""
    shelf = _built(open_to_all=open_to_all, tools=tools, sse=sse)
    shelf.world.forget()
    shelf.tokens.lost = False
    return shelf


def build_shelf(
    *,
    open_to_all: bool = False,
    tools: Literal["core", "full"] = "core",
    sse: bool = True,
    max_body: int = 8 * 1024 * 1024,
) -> Shelf:
    """A service of one's own."""
    world, tokens = World(), Tokens()

    @asynccontextmanager
    async def lifespan(_app: LiveMemory) -> AsyncIterator[None]:
        async with bridge.run():
            yield

    noun = shelf(world, open_to_all=open_to_all)
    app = create_app(NoServices(), [noun], tokens, version="1.2.3", origins=["*"], max_body=max_body, lifespan=lifespan)
    bridge = McpBridge(
        app,
        noun.declared,
        name="Shelf",
        version="1.2.3",
        authenticator=tokens,
        tools=tools,
        allowed_hosts=HOSTS,
        allowed_origins=ORIGINS,
        sse=sse,
        max_body=max_body,
    )
    bridge.mount()
    return Shelf(app, bridge, world, tokens)


class _Server(uvicorn.Server):
    """Says when it listens, and at SIGTERM's equivalent closes the streams of the MCP face."""

    def __init__(self, config: uvicorn.Config, bridge: McpBridge) -> None:
        super().__init__(config)
        self._bridge = bridge
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.should_exit = True
        self._bridge.close()


@dataclass
class Serving:
    """A service on a real port."""

    url: str
    stop: Any
    ended: "asyncio.Task[None]"

    def http(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """A plain HTTP client of the service."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(base_url=self.url, headers={**bearer, **headers}, timeout=10)


@asynccontextmanager
async def serving(shelf: Shelf, *, http: Literal["h11", "httptools"] = "h11") -> AsyncIterator[Serving]:
    """Serve it with a real web server until the context ends."""
    config = uvicorn.Config(
        shelf.app, host="127.0.0.1", port=0, log_config=None, http=http, timeout_graceful_shutdown=5
    )
    server = _Server(config, shelf.bridge)
    ended = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        await server.listening.wait()
    try:
        yield Serving(server.url, server.stop, ended)
    finally:
        server.stop()
        async with asyncio.timeout(10):
            await ended


@asynccontextmanager
async def connected(
    served: Serving, kind: Literal["modern", "legacy", "sse"], token: str | None = WRITER
) -> AsyncIterator[Client]:
    """The official client, over streamable HTTP in one of the two eras, or over SSE."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if kind == "sse":
        async with Client(sse_client(f"{served.url}/sse", headers=headers), mode="legacy") as client:
            yield client
        return
    async with httpx2.AsyncClient(headers=headers, timeout=10) as http:
        transport = streamable_http_client(f"{served.url}/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28" if kind == "modern" else "legacy") as client:
            yield client


def text_of(result: t.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, t.TextContent)
    return block.text


def success(result: t.CallToolResult) -> dict[str, Any]:
    """What a successful call answers: the same object as text and as structured content."""
    assert not result.is_error, text_of(result)
    parsed: dict[str, Any] = json.loads(text_of(result))
    assert result.structured_content == parsed
    return parsed


def failure(result: t.CallToolResult) -> dict[str, Any]:
    """What a failed call answers: one JSON object as text, and nothing that a client could take for a success."""
    assert result.is_error
    assert result.structured_content is None
    parsed: dict[str, Any] = json.loads(text_of(result))
    assert parsed["status"] in {"error", "not_found", "already_exists", "conflict"}
    assert parsed["message"]
    assert result.meta is not None
    problem = result.meta[PROBLEM_META]
    assert (problem["code"], problem["detail"]) == (parsed["code"], parsed["message"])
    assert isinstance(problem["status"], int)
    return parsed
