"""The protocol side: an MCP server whose tools are the operations."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mcp import types as t
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError

CallTool = Callable[[t.Tool, dict[str, Any], Context[Any, Any] | None], Awaitable[t.CallToolResult]]

# The same for every caller, so anybody's copy may serve anybody.
_CACHE_HINTS: Final[dict[CacheableMethod, CacheHint]] = {
    "tools/list": CacheHint(ttl_ms=300_000, scope="public"),
    "server/discover": CacheHint(ttl_ms=3_600_000, scope="public"),
}


class RestMCPServer(MCPServer[Any]):
    """Serves the given tools first, and then whatever was registered in the ways of the SDK."""

    def __init__(
        self, tools: Sequence[t.Tool], call: CallTool, *, name: str, version: str, description: str, instructions: str
    ) -> None:
        self._rest_tools = {tool.name: tool for tool in tools}
        self._call = call
        super().__init__(
            name,
            version=version,
            description=description,
            instructions=instructions,
            log_level="WARNING",
            cache_hints=_CACHE_HINTS,
            subscriptions=False,
        )

    async def list_tools(self) -> list[t.Tool]:
        return [*self._rest_tools.values(), *await super().list_tools()]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> t.CallToolResult | t.InputRequiredResult:
        if tool := self._rest_tools.get(name):
            return await self._call(tool, arguments, context)
        if self._tool_manager.get_tool(name) is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {name[:100]!r}")
        return await super().call_tool(name, arguments, context)

    def _tool_input_schema(self, name: str) -> dict[str, Any] | None:
        tool = self._rest_tools.get(name)
        return tool.input_schema if tool else super()._tool_input_schema(name)
