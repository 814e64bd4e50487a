"""Tells the client of a tool call how far the work is."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import anyio
from mcp.server.mcpserver import Context


def progress_of(context: Context[Any, Any] | None) -> Callable[[float, float | None, str], Awaitable[None]]:
    """A reporter for one call. The protocol wants growing values, so others are left out.

    A client that has gone away does not disturb the work: whether to go on without it is for the work to decide.
    """
    latest = -1.0

    async def report(done: float, total: float | None, message: str) -> None:
        nonlocal latest
        if context is None or not latest < done < inf:
            return
        latest = done
        try:
            await context.report_progress(done, total, message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    return report
