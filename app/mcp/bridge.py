"""The MCP face: every exported operation as a tool, called in the same process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import structlog
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_mcp import FastApiMCP
from fastapi_mcp.openapi.convert import convert_openapi_to_mcp_tools
from mcp import types as t
from mcp.server.mcpserver import Context
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Route

from app.api.inprocess import ask
from app.core.errors import InternalError, Situation, Timeout
from app.core.identity import Authenticator, Permission
from app.core.operation import Operation, ToolCall
from app.core.routing import TOOL_CALL_KEY
from app.mcp.arguments import Address
from app.mcp.errors import Failures
from app.mcp.gate import Gate
from app.mcp.instructions import INSTRUCTIONS
from app.mcp.leniency import lenient
from app.mcp.progress import progress_of
from app.mcp.results import result_of
from app.mcp.schemas import exported_document, input_schema, output_schema
from app.mcp.server import RestMCPServer
from app.mcp.transport import TRANSPORT_KEY, Closing, EventStreamEndpoint, MessageEndpoint, StreamableEndpoint

log = structlog.get_logger(__name__)

DESCRIPTION: Final = "Shared working memory for AI agents: live notes, consolidated into a Markdown bank."
FORWARDED: Final = ("authorization", "traceparent", "tracestate", "accept-language", "idempotency-key")
"""Headers of the client that the operation sees too. The token is for this same service, so it may be passed on."""


class McpBridge(FastApiMCP):  # type: ignore[misc]  # fastapi-mcp ships no types
    """Serves the operations of an application as MCP tools. Made when all of its routes are in place."""

    def __init__(
        self,
        app: FastAPI,
        operations: Sequence[Operation],
        *,
        name: str,
        version: str,
        authenticator: Authenticator,
        tools: Literal["core", "full"] = "core",
        allowed_hosts: Sequence[str],
        allowed_origins: Sequence[str],
        sse: bool = True,
        max_body: int,
    ) -> None:
        """Build every tool.

        Raises:
            ValueError: an operation cannot be a tool; the message says which and why.
        """
        self._operations = {op.name: op for op in operations if (op.core or tools == "full") and not op.is_stream}
        self._version = version
        self._sse = sse
        self._max_body = max_body
        self._failures = Failures(operations)
        self._addresses: dict[str, Address] = {}
        self._security = TransportSecuritySettings(
            # The SDK has no word for any host; the edge has checked host and origin before this.
            enable_dns_rebinding_protection="*" not in allowed_hosts,
            allowed_hosts=list(allowed_hosts),
            allowed_origins=list(allowed_origins),
        )
        self.mcp: RestMCPServer
        # The base class calls `setup_server`, so everything above must be there.
        super().__init__(
            app,
            name=name,
            description=DESCRIPTION,
            include_operations=list(self._operations),
            headers=list(FORWARDED),
        )
        public = [op.name for op in self._operations.values() if op.permission is Permission.PUBLIC]
        gate = Gate(authenticator, public_tools=public)
        self._streamable = StreamableEndpoint(gate, self._security)
        self._messages_path = "/sse/messages/"
        self._events = EventStreamEndpoint(gate, self._security, self.server)
        self._messages = MessageEndpoint(gate, self._security, self._events)

    def setup_server(self) -> None:
        """Make the tools and the protocol server; the base class calls it."""
        # Not `app.openapi()`, which remembers its answer and would hide routes added later from the documentation.
        document = get_openapi(title=self.name, version=self._version, routes=self.fastapi.routes)
        exported = exported_document(document, self._operations)
        converted, self.operation_map = convert_openapi_to_mcp_tools(exported)
        self.tools = [self._tool(tool, document, exported) for tool in self._filter_tools(converted, exported)]
        missing = self._operations.keys() - {tool.name for tool in self.tools}
        if missing:
            raise ValueError(f"operations without a route: {sorted(missing)}")
        self.mcp = RestMCPServer(
            self.tools,
            self._call,
            name=self.name,
            version=self._version,
            description=DESCRIPTION,
            instructions=INSTRUCTIONS,
        )
        self.server = self.mcp._lowlevel_server  # noqa: SLF001 - what the SDK's own transports are given

    def _tool(self, converted: t.Tool, document: dict[str, Any], exported: dict[str, Any]) -> t.Tool:
        operation = self._operations[converted.name]
        place = (operation.plain_path, operation.method.lower())
        whole, part = document["paths"][place[0]][place[1]], exported["paths"][place[0]][place[1]]
        headers = {
            parameter["name"]: parameter["name"].lower().replace("-", "_")
            for parameter in part["parameters"]
            if parameter["in"] == "header" and parameter["name"].lower() not in FORWARDED
        }
        schema = input_schema(converted.input_schema, part, headers)
        properties = schema["properties"]
        self._addresses[operation.name] = Address(
            operation=operation,
            query={item["name"]: properties[item["name"]] for item in part["parameters"] if item["in"] == "query"},
            headers={argument: (header.lower(), properties[argument]) for header, argument in headers.items()},
            has_body="requestBody" in part,
        )
        if operation.example:
            schema["examples"] = [dict(operation.example)]
        hints = whole["x-mcp"]
        return t.Tool(
            name=operation.name,
            title=hints["title"],
            description=f"{operation.title}\n\n{operation.description}".strip(),
            input_schema=schema,
            output_schema=output_schema(operation.name, whole, document),
            annotations=t.ToolAnnotations.model_validate(hints["annotations"]),
        )

    async def _call(
        self, tool: t.Tool, arguments: dict[str, Any], context: Context[Any, Any] | None
    ) -> t.CallToolResult:
        """Ask the operation; whatever happens, the client gets an answer it can read."""
        known, ignored = lenient(arguments, tool.input_schema)
        if ignored:
            log.info("tool_arguments_ignored", tool=tool.name, ignored=len(ignored))
        try:
            return await self._asked(tool, known, ignored, context)
        except Situation as situation:
            return self._failures.of_situation(situation, ignored=ignored)
        except Exception:
            failure = self._failures.of_situation(InternalError(), ignored=ignored)
            log.exception("tool_crashed", tool=tool.name)
            return failure

    async def _asked(
        self, tool: t.Tool, arguments: dict[str, Any], ignored: tuple[str, ...], context: Context[Any, Any] | None
    ) -> t.CallToolResult:
        operation = self._operations[tool.name]
        outer = _outer(context)
        question = self._addresses[tool.name].question(arguments, forwarded=_forwarded(outer))
        call = ToolCall(tool.name, transport=outer.get(TRANSPORT_KEY, "mcp"), progress=progress_of(context))
        limit = operation.timeout.total_seconds()
        with anyio.move_on_after(limit):
            answer = await ask(self.fastapi, question, outer=outer, marks={TOOL_CALL_KEY: call})
            return result_of(answer, tool=tool, failures=self._failures, ignored=ignored)
        raise Timeout(f"'{tool.name}' did not answer within {limit:g} seconds.")

    def mount(self) -> None:
        """Register the addresses of the MCP face on the application."""
        self.mount_http()
        if self._sse:
            self.mount_sse()

    def mount_http(self, router: FastAPI | APIRouter | None = None, mount_path: str = "/mcp") -> None:
        """Register streamable HTTP: a plain route, so no redirect to a slash and no buffering of streams."""
        (router or self.fastapi).routes.append(Route(mount_path, self._streamable, include_in_schema=False))

    def mount_sse(self, router: FastAPI | APIRouter | None = None, mount_path: str = "/sse") -> None:
        """Register HTTP with SSE, for clients of older revisions."""
        self._messages_path = f"{mount_path}/messages/"
        routes = (router or self.fastapi).routes
        routes.append(Route(mount_path, self._events, include_in_schema=False))
        routes.append(Route(self._messages_path, self._messages, include_in_schema=False))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve while the context is open. Entered by the application's lifespan, as often as that is."""
        manager = StreamableHTTPSessionManager(
            self.server, stateless=True, security_settings=self._security, max_request_body_size=self._max_body
        )
        self._events.closing = Closing()
        async with manager.run():
            self._streamable.manager = manager
            if self._sse:
                self._events.transport = SseServerTransport(
                    self._messages_path, security_settings=self._security, max_request_body_size=self._max_body
                )
            try:
                yield
            finally:
                self.close()
                self._streamable.manager = None
                self._events.transport = None

    def close(self) -> None:
        """End the open streams. To be called on SIGTERM: a web server waits for them before it ends the lifespan."""
        self._events.closing.set()


def tool_documents(bridge: McpBridge) -> list[dict[str, Any]]:
    """Every tool as `tools/list` shows it, in its order."""
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in bridge.tools]


def _outer(context: Context[Any, Any] | None) -> Mapping[str, Any]:
    """The scope of the HTTP request a call came by; a client in the same process has none."""
    request = None if context is None else context.request_context.request
    scope: Mapping[str, Any] = {} if request is None else request.scope
    return scope


def _forwarded(outer: Mapping[str, Any]) -> dict[str, str]:
    """The client's headers that the operation may see; one that was sent twice says nothing."""
    sent = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in outer.get("headers", ())]
    names = [name for name, _ in sent]
    return {name: value for name, value in sent if name in FORWARDED and names.count(name) == 1}
