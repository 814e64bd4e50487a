"""The operations as MCP tools."""
