"""A service in this process on which each operation can be called as its example says, on both faces."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from app.api.app import LiveMemory
from app.bootstrap import Services, build_services
from app.core.identity import Caller
from app.core.operation import Operation
from app.core.settings import Settings, ToolSet
from app.llm.client import LLM
from app.main import assemble
from app.mcp.bridge import tool_documents
from app.storage.memory import MemoryStore
from app.tokens.models import new_token
from tests.conftest import BOOTSTRAP_KEY
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

T = TypeVar("T")

SPACE: Final = "project-alpha"
"""The space that the examples name."""
FOREIGN: Final = "project-beta"
"""A space that a token for `SPACE` does not reach."""
ADDRESS: Final = "http://localhost"
_REVISION: Final = "2026-07-28"


class Place(Enum):
    """Where a call names its space."""

    NOWHERE = "nowhere"
    PATH = "path"
    QUERY = "query"
    BACKUP = "backup"
    """In the first part of the backup's id."""
    JOB = "job"
    """In the first part of the job's id."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is promised of an operation, whatever its declaration says."""

    route: str
    status: int
    permission: str
    place: Place


def _row(route: str, status: int, permission: str, place: Place = Place.NOWHERE) -> Row:
    return Row(route, status, permission, place)


TABLE: Final[Mapping[str, Row]] = {
    "system_health": _row("GET /system/health", 200, "public"),
    "system_about": _row("GET /system/about", 200, "public"),
    "system_whoami": _row("GET /system/whoami", 200, "any"),
    "space_create": _row("POST /spaces", 201, "write"),
    "space_list": _row("GET /spaces", 200, "read"),
    "space_info": _row("GET /spaces/{space_id}", 200, "read", Place.PATH),
    "space_rules": _row("GET /spaces/{space_id}/rules", 200, "read", Place.PATH),
    "space_update": _row("PATCH /spaces/{space_id}", 200, "write", Place.PATH),
    "space_update_rules": _row("PUT /spaces/{space_id}/rules", 200, "admin", Place.PATH),
    "space_summary": _row("GET /spaces/{space_id}/summary", 200, "read", Place.PATH),
    "space_export": _row("GET /spaces/{space_id}/export", 200, "read", Place.PATH),
    "space_delete": _row("DELETE /spaces/{space_id}", 200, "admin", Place.PATH),
    "live_note": _row("POST /spaces/{space_id}/notes", 201, "write", Place.PATH),
    "live_read": _row("GET /spaces/{space_id}/notes", 200, "read", Place.PATH),
    "live_search": _row("GET /spaces/{space_id}/notes/search", 200, "read", Place.PATH),
    "bank_read": _row("GET /spaces/{space_id}/bank/files/{filename:path}", 200, "read", Place.PATH),
    "bank_read_all": _row("GET /spaces/{space_id}/bank", 200, "read", Place.PATH),
    "bank_list": _row("GET /spaces/{space_id}/bank/files", 200, "read", Place.PATH),
    "bank_consolidate": _row("POST /spaces/{space_id}/bank/consolidate", 200, "write", Place.PATH),
    "bank_history": _row("GET /spaces/{space_id}/bank/history", 200, "read", Place.PATH),
    "bank_diff": _row("GET /spaces/{space_id}/bank/diff", 200, "read", Place.PATH),
    "bank_note": _row("GET /spaces/{space_id}/bank/notes/{note_id}", 200, "read", Place.PATH),
    "bank_write": _row("PUT /spaces/{space_id}/bank/files/{filename:path}", 200, "admin", Place.PATH),
    "bank_compact": _row("POST /spaces/{space_id}/bank/compact", 200, "admin", Place.PATH),
    "bank_repair": _row("POST /spaces/{space_id}/bank/repair", 200, "admin", Place.PATH),
    "bank_revert": _row("POST /spaces/{space_id}/bank/revert", 200, "admin", Place.PATH),
    "bank_delete": _row("DELETE /spaces/{space_id}/bank/files/{filename:path}", 200, "admin", Place.PATH),
    "job_get": _row("GET /jobs/{job_id}", 200, "read", Place.JOB),
    "job_events": _row("GET /jobs/{job_id}/events", 200, "read", Place.JOB),
    "job_cancel": _row("DELETE /jobs/{job_id}", 200, "write", Place.JOB),
    "backup_create": _row("POST /spaces/{space_id}/backups", 201, "write", Place.PATH),
    "backup_list": _row("GET /backups", 200, "read", Place.QUERY),
    "backup_restore": _row("POST /backups/{backup_id:path}/restore", 200, "admin", Place.BACKUP),
    "backup_download": _row("GET /backups/{backup_id:path}/download", 200, "read", Place.BACKUP),
    "backup_delete": _row("DELETE /backups/{backup_id:path}", 200, "admin", Place.BACKUP),
    "admin_create_token": _row("POST /admin/tokens", 201, "admin"),
    "admin_list_tokens": _row("GET /admin/tokens", 200, "admin"),
    "admin_revoke_token": _row("POST /admin/tokens/{token_hash}/revoke", 200, "admin"),
    "admin_update_token": _row("PATCH /admin/tokens/{token_hash}", 200, "admin"),
    "admin_delete_token": _row("DELETE /admin/tokens/{token_hash}", 200, "admin"),
    "admin_purge_tokens": _row("POST /admin/tokens/purge", 200, "admin"),
    "admin_gc_notes": _row("POST /admin/gc", 200, "admin"),
}
"""In an order in which the examples of the same path can be followed, but for what deletes."""
NAMES: Final = tuple(TABLE)
BESIDE: Final = frozenset({
    "system_whoami", "space_update", "space_update_rules", "bank_history", "bank_diff", "bank_note", "bank_write",
    "bank_repair", "bank_compact", "bank_revert", "bank_delete", "job_get", "job_events", "job_cancel",
    "admin_delete_token", "admin_purge_tokens",
})  # fmt: skip
"""What came later: these are tools only where somebody asks for them."""
CORE: Final = tuple(name for name in NAMES if name not in BESIDE)
STREAMS: Final = frozenset({"job_events"})
"""What answers with events as they happen, so it can be no tool."""
TOOLS: Final = tuple(name for name in NAMES if name not in STREAMS)
"""What both faces offer."""


@dataclass(frozen=True, slots=True)
class Who:
    """A kind of caller: what its credential says of it."""

    label: str
    token: str | None = field(repr=False)
    permissions: frozenset[str] = frozenset()
    """Empty for a credential that is none."""
    spaces: tuple[str, ...] | None = None
    """None: all."""


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a client of the MCP face got: an HTTP answer, and the result in it if there is one."""

    status: int
    headers: httpx.Headers
    body: str
    result: Mapping[str, Any] | None

    @property
    def text(self) -> str:
        """The one text block of the result."""
        assert self.result is not None, self.body
        (block,) = self.result["content"]
        assert block["type"] == "text"
        return str(block["text"])

    @property
    def structured(self) -> dict[str, Any] | None:
        assert self.result is not None, self.body
        found: dict[str, Any] | None = self.result.get("structuredContent")
        return found

    @property
    def is_error(self) -> bool:
        return self.result is None or bool(self.result.get("isError", False))

    @property
    def error(self) -> dict[str, Any]:
        """The error object; that of the transport when the call was refused before it reached a tool."""
        found: dict[str, Any] = json.loads(self.body if self.result is None else self.text)
        return found


@dataclass(slots=True)
class Service:
    """A running service with everything that the examples name."""

    app: LiveMemory
    services: Services
    store: FaultyStore
    clock: FrozenClock
    http: httpx.AsyncClient
    known: dict[str, str] = field(default_factory=dict)
    """Arguments whose value only the service could choose: `backup_id`, `token_hash`, `job_id`, `note_id`."""
    _stage: "Stage | None" = None
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def operations(self) -> dict[str, Operation]:
        return {operation.name: operation for operation in self.app.operations}

    def example(self, name: str) -> dict[str, Any]:
        """The declared arguments, with the names that this service chose."""
        return {argument: self.known.get(argument, value) for argument, value in self.operations[name].example.items()}

    async def rest(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, token: str | None = BOOTSTRAP_KEY
    ) -> httpx.Response:
        """Call it over REST, by default as the administrator and with the example."""
        operation = self.operations[name]
        given = dict(self.example(name) if arguments is None else arguments)
        described = described_in(document(), operation)
        path = operation.plain_path
        for argument in operation.path_arguments:
            safe = "/" if argument in operation.greedy_arguments else ""
            path = path.replace("{" + argument + "}", quote(str(given.pop(argument)), safe=safe))
        in_query = {parameter["name"] for parameter in described.get("parameters", []) if parameter["in"] == "query"}
        query = {argument: _plain(given.pop(argument)) for argument in in_query & given.keys()}
        body = given if "requestBody" in described else None
        assert body is not None or not given, f"{name} has no place for {given}"
        return await self.http.request(operation.method, path, params=query, json=body, headers=_bearer(token))

    async def tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, token: str | None = BOOTSTRAP_KEY
    ) -> ToolAnswer:
        """Call it as an MCP tool, in one message of the revision without a handshake."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": _REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "walk", "version": "1"},
        }
        given = self.example(name) if arguments is None else dict(arguments)
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": given, "_meta": meta},
        }
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": _REVISION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        }
        answer = await self.http.post("/mcp", json=message, headers=headers | _bearer(token))
        return ToolAnswer(answer.status_code, answer.headers, answer.text, _result(answer))

    async def admin(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """Prepare something as the administrator; it must succeed."""
        answer = await self.rest(operation, arguments)
        assert answer.is_success, f"{operation}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    async def who(
        self, label: str, permissions: str, spaces: str = "", *, expires_in_days: int = 0, name: str = ""
    ) -> Who:
        """A caller with a token of its own."""
        made = await self.admin(
            "admin_create_token",
            name=name or label,
            permissions=permissions,
            space_ids=spaces,
            expires_in_days=expires_in_days,
        )
        return Who(
            label, made["token"], frozenset(permissions.split(",")), tuple(spaces.split(",")) if spaces else None
        )

    async def contents(self) -> dict[str, bytes]:
        """Everything that is stored, once nothing is being written."""
        await self.services.runner.idle()
        stored = self.store.inner
        found: dict[str, bytes] = {}
        async for page in stored.list(""):
            for listed in page.objects:
                body = await stored.get(listed.key)
                found[listed.key] = getattr(body, "body", b"")
        return found

    async def prepare(self, name: str = "") -> None:
        """Make what the examples name: a space with a filed and a waiting note, a job, a backup, a token.

        For the one operation that brings a space back, and the one that makes it, the space is gone again.
        """
        example = self.operations["space_create"].example
        await self.admin("space_create", **example)
        await self.note("Decided: PostgreSQL 15 keeps the orders.", category="decision")
        job = await self.admin("bank_consolidate", space_id=SPACE)
        note_id = next(iter((await self.services.spaces.open(SPACE)).head.note_refs))
        await self.note("We still use PostgreSQL 15 for the orders.", category="decision")
        backup = await self.admin("backup_create", space_id=SPACE, description="Before the migration")
        token = await self.admin("admin_create_token", name="somebody", permissions="read")
        self.known |= {
            "backup_id": backup["backup_id"],
            "token_hash": token["hash"],
            "job_id": job["job_id"],
            "note_id": note_id,
        }
        if name in {"space_create", "backup_restore"}:
            await self.admin("space_delete", space_id=SPACE, confirm=True)
        await self.services.runner.idle()

    async def go_on(self, *, llm: LLM | None = None, **settings: Any) -> None:
        """Answer from here on as another process over the same store would, one with a model or with other settings."""
        assert self._stage is not None
        chosen = Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY, **settings)
        self.services = self._stage.services = build_services(self.store, self.clock, chosen, llm)
        await self._running.enter_async_context(self.services.opened())

    async def note(self, content: str, *, space_id: str = SPACE, category: str = "observation") -> dict[str, Any]:
        return await self.admin("live_note", space_id=space_id, category=category, content=content)

    async def callers(self) -> dict[str, Who]:
        """Every kind of caller there is."""
        expired = await self.who("expired", "read,write,admin", expires_in_days=1)
        self.clock.advance(timedelta(days=2))
        revoked = await self.who("revoked", "read,write,admin")
        assert revoked.token is not None
        tokens = await self.admin("admin_list_tokens")
        (token_hash,) = [token["token_hash"] for token in tokens["tokens"] if token["name"] == "revoked"]
        await self.admin("admin_revoke_token", token_hash=token_hash)
        found = [
            Who("nobody", None),
            Who("unknown", new_token()),
            Who("malformed", "not-a-token"),
            Who("expired", expired.token),
            Who("revoked", revoked.token),
            await self.who("reader", "read"),
            await self.who("writer only", "write"),
            await self.who("writer", "read,write"),
            await self.who("admin", "admin"),
            await self.who("reader here", "read", SPACE),
            await self.who("writer here", "read,write", SPACE),
            await self.who("reader elsewhere", "read", FOREIGN),
            await self.who("writer elsewhere", "read,write", FOREIGN),
            await self.who("admin elsewhere", "admin", FOREIGN),
        ]
        return {who.label: who for who in found}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, made once for all tests of this process."""
    return _application().openapi()


@cache
def tools() -> dict[str, dict[str, Any]]:
    """Every tool there may be as clients see it, by name."""
    return {tool["name"]: tool for tool in tool_documents(_application().state.bridge)}


def _application() -> LiveMemory:
    clock = FrozenClock()
    store, settings = MemoryStore(clock), Settings.for_tests(mcp_tools=ToolSet.FULL)
    return assemble(build_services(store, clock, settings), store, settings)


def described_in(whole: Mapping[str, Any], operation: Operation) -> dict[str, Any]:
    """What an OpenAPI document says of the operation."""
    found: dict[str, Any] = whole["paths"][operation.plain_path][operation.method.lower()]
    return found


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, or the model that it refers to."""
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def success_schema(operation: Operation) -> dict[str, Any]:
    """The schema of the operation's success, with all that it refers to."""
    answer = described_in(document(), operation)["responses"][str(operation.status_code)]
    schema = resolved(answer["content"]["application/json"]["schema"])
    return {**schema, "components": document()["components"]}


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _result(answer: httpx.Response) -> Mapping[str, Any] | None:
    if not answer.is_success:
        return None
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        (text,) = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    message = json.loads(text)
    assert "result" in message, message
    found: Mapping[str, Any] = message["result"]
    return found


class Stage:
    """An application whose services are put on for each test: building it anew takes longer than most tests."""

    def __init__(self) -> None:
        self.services: Services
        settings = Settings.for_tests(mcp_tools=ToolSet.FULL)
        self.app: LiveMemory = assemble(self, self, settings)  # type: ignore[arg-type]  # it passes all on

    def of(self, kind: type[T]) -> T:
        return self.services.of(kind)

    async def ready(self) -> dict[str, str]:
        return await self.services.ready()

    @property
    def authenticator(self) -> "Stage":
        return self

    async def authenticate(self, token: str) -> Caller | None:
        return await self.services.authenticator.authenticate(token)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """What the lifespan opens: once as the store, and once as the services."""
        yield


_FREE: Final[list[Stage]] = []
"""Stages that no service stands on; two stand at once only where a test compares them."""


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """An empty service, with its lifespan open, over a store that can be told to fail."""
    clock = FrozenClock()
    store = FaultyStore(MemoryStore(clock))
    stage = _FREE.pop() if _FREE else Stage()
    stage.services = build_services(store, clock, Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY))
    transport = httpx.ASGITransport(stage.app)
    failed: Exception | None = None
    async with (
        AsyncExitStack() as running,
        stage.app.router.lifespan_context(stage.app),
        httpx.AsyncClient(transport=transport, base_url=ADDRESS) as http,
    ):
        await running.enter_async_context(stage.services.opened())
        try:
            yield Service(stage.app, stage.services, store, clock, http, _stage=stage, _running=running)
        except Exception as error:  # noqa: BLE001 - raised again below: task groups of the lifespan would wrap it
            failed = error
    _FREE.append(stage)
    if failed is not None:
        raise failed


@asynccontextmanager
async def prepared(name: str = "") -> AsyncIterator[Service]:
    """A service on which the examples succeed, or that of the named operation when some exclude each other."""
    async with serving() as service:
        await service.prepare(name)
        yield service


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in a refusal, which must be whole (RFC 9457) and of that kind."""
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:live-memory:problem:{code}"
    assert problem["detail"]
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    return problem


def failure_of(answer: ToolAnswer, word: str, code: str) -> dict[str, Any]:
    """The error object of a failed tool call, which nothing could take for a success."""
    assert answer.status == 200, answer.body
    assert answer.is_error, answer.body
    assert answer.structured is None
    error = answer.error
    assert (error["status"], error["code"]) == (word, code), error
    assert error["message"]
    assert error.keys() <= {"status", "code", "message", "details"}
    return error
