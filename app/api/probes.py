"""What a supervisor asks: does the process live, and may it be sent requests."""

from collections.abc import Mapping
from typing import Final, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.core.errors import Unavailable

WELL: Final = frozenset({"ok", "full", "none, single writer"})
"""The words with which a check passes."""


class ReadyServices(Protocol):
    """Services that can say whether what they stand on is there."""

    async def ready(self) -> Mapping[str, str]:
        """Each thing that was checked, with a word of `WELL` or the reason why not."""
        ...


def add_probes(app: FastAPI, services: ReadyServices, *, version: str) -> None:
    """Serve `/health`, which looks at nothing, and `/ready`, which looks at the store."""

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "healthy", "service": "live-memory", "version": version})

    async def ready(request: Request) -> JSONResponse:
        try:
            checks = dict(await services.ready())
        except Unavailable as situation:
            checks = {"store": situation.code()}
        if getattr(request.app.state, "draining", False):
            checks["process"] = "draining"
        is_ready = all(word in WELL for word in checks.values())
        return JSONResponse(
            {"status": "ready" if is_ready else "not_ready", "checks": checks},
            status_code=200 if is_ready else 503,
            headers={} if is_ready else {"Retry-After": "2"},
        )

    app.add_route("/health", health, methods=["GET"], include_in_schema=False)
    app.add_route("/ready", ready, methods=["GET"], include_in_schema=False)
