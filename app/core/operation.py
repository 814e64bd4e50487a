"""One operation of the service, as a value: what every face needs to know of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from app.core.errors import Situation
from app.core.identity import Permission


class Effect(StrEnum):
    """What an operation does to what is stored."""

    READS = "reads"
    ADDS = "adds"
    REWRITES = "rewrites"
    DELETES = "deletes"


Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Told how far the work is: so much done, of how much if that is known, and in words."""

DEFAULT_TIMEOUT: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of one operation. `app/core/routing.py` makes it, once, beside the path function."""

    name: str
    """The `operationId`, the MCP tool's name."""
    tag: str
    """The noun it belongs to."""
    method: str
    path: str
    """The route's template, converters included: `/api/v1/backups/{backup_id:path}`."""
    title: str
    """First sentence of the docstring."""
    description: str
    """The rest of it."""
    permission: Permission
    effect: Effect
    errors: tuple[type[Situation], ...]
    status_code: int
    core: bool
    """One of the 26; the others are MCP tools only with `MCP_TOOLS=full`."""
    example: Mapping[str, Any]
    """Arguments of a call that succeeds on a service prepared by the examples before it."""
    timeout: timedelta
    """How long the MCP face waits for it."""
    endpoint: Callable[..., Any] = field(compare=False, repr=False)
    is_stream: bool = False
    """It answers with events as they happen, so it can be no MCP tool."""

    @property
    def plain_path(self) -> str:
        """The template as OpenAPI writes it, without converters."""
        return self.path.replace(":path}", "}")

    @property
    def path_arguments(self) -> tuple[str, ...]:
        return tuple(part.split("}")[0] for part in self.plain_path.split("{")[1:])

    @property
    def greedy_arguments(self) -> tuple[str, ...]:
        """Path arguments that may hold a slash."""
        return tuple(name for name in self.path_arguments if "{" + name + ":path}" in self.path)

    @property
    def idempotent(self) -> bool:
        """Does a second identical call change nothing more?"""
        return self.effect is Effect.READS or self.method in {"PUT", "DELETE"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Set in the scope of a request that an MCP tool call caused: it cannot be forged over HTTP."""

    operation: str
    """Name of the only operation this request may reach."""
    transport: str
    """`mcp` or `sse`."""
    progress: Progress = field(repr=False)
    """Tells the client how far the work is."""
